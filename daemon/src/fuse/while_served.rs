//! What is held as long as a mount is served.

use std::{
    any::Any,
    sync::{Mutex, PoisonError},
};

/// Holds a value until the mount has ended, and no longer: a daemon has much to clear away by then, and
/// somebody may mount anew meanwhile.
#[derive(Debug, Default)]
pub struct WhileServed(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Nothing,
    Held(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Any + Send>),
    Over,
}

impl WhileServed {
    /// Holds `value`, or drops it if the mount has ended already.
    pub fn hold(&self, value: impl Any + Send) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Over) {
            *state = State::Held(Box::new(value));
        }
    }

    /// The mount has ended: what is held is dropped.
    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Over;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_value_is_held_until_the_end_and_not_taken_after_it() {
        let (served, value) = (WhileServed::default(), Arc::new(()));
        served.hold(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 2);
        served.end();
        assert_eq!(Arc::strong_count(&value), 1);
        served.hold(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
