//! What tasks are changing below the mount, at places that they share (protocol 8.2).

use super::explore;
use loom::{sync::Arc, thread};
use transport::place::{Begun, PLACES, Place};

/// A system call of a task that changes two inodes. Who is displaced ends by itself, elsewhere.
fn call(place: &Place, task: u32, indices: [u32; 2]) {
    let mut expected = Vec::new();
    for index in indices {
        match place.begin(task, index) {
            Begun::Now => expected.push(index),
            Begun::Taken => {}
            begun => panic!("{begun:?} for the first change of {index}"),
        }
    }
    let mut ended = Vec::new();
    place.end(task, |index| ended.push(index));
    assert_eq!(ended, expected, "the changes that the task has begun there");
}

/// Two tasks of one place make system calls at once, one of them two: each ends what it has begun, and
/// nothing else.
pub fn holds_what_one_task_has_begun(preemptions: Option<usize>) {
    explore(preemptions, || {
        let place = Arc::new(Place::default());
        let beside = {
            let place = place.clone();
            thread::spawn(move || call(&place, 7 + PLACES, [1, 2]))
        };
        call(&place, 7, [2, 3]);
        call(&place, 7, [4, 5]);
        beside.join().expect("the other task's call ends");
    });
}
