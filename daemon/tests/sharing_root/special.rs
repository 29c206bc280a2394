//! Files that are no files: sockets, FIFOs, devices; and files reached by handle.

use crate::common::{TestMount, bash};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixDatagram, UnixListener, UnixStream},
    thread,
};

fn a_socket_in_the_mount_connects(mount: &TestMount) {
    let path = mount.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"hello").unwrap();
    drop(stream);
    assert_eq!(server.join().unwrap(), "hello");
    assert!(UnixListener::bind(&path).is_err(), "the name is taken");
    fs::remove_file(&path).unwrap();
    assert!(UnixDatagram::unbound().unwrap().connect(&path).is_err());
}

fn a_fifo_in_the_mount_joins_two_processes(mount: &TestMount) {
    let joined = bash(
        mount.path(),
        "mkfifo fifo; (echo through the fifo >fifo) & cat fifo; wait",
    );
    assert_eq!(joined, "through the fifo\n");
}

fn programs_run_from_the_mount_and_cannot_be_written_meanwhile(mount: &TestMount) {
    bash(
        mount.path(),
        "cp $(command -v sleep) program; chmod 755 program
         ./program 100 & running=$!
         until [ \"$(readlink /proc/$running/exe)\" = $PWD/program ]; do :; done
         ! cp /dev/null program 2>/dev/null
         kill $running; wait $running || true
         cp /dev/null program; ! ./program 1 2>/dev/null || true
         printf '#!/bin/sh\\necho script\\n' >script; chmod 755 script; test $(./script) = script",
    );
}

fn files_far_beyond_4_gib_keep_their_places(mount: &TestMount) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(mount.path().join("large"))
        .unwrap();
    let places = [0, (1 << 31) - 3, (1 << 32) - 5, 1 << 32, (1 << 40) + 12_345];
    for (number, &at) in places.iter().enumerate() {
        file.write_all_at(&[number as u8 + 1; 10], at).unwrap();
    }
    assert_eq!(file.metadata().unwrap().len(), (1 << 40) + 12_355);
    for (number, &at) in places.iter().enumerate() {
        let mut buffer = [0; 5];
        file.read_exact_at(&mut buffer, at).unwrap();
        assert_eq!(buffer, [number as u8 + 1; 5], "at {at}");
    }
    assert!(file.metadata().unwrap().len() > 1 << 40);
    let error = file.write_all_at(b"x", i64::MAX as u64 - 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EFBIG));
}

for_every_variant!(on_mount, [files_far_beyond_4_gib_keep_their_places]);

mod without_data {
    use super::*;
    for_every_transport!(
        on_mount,
        [
            a_socket_in_the_mount_connects,
            a_fifo_in_the_mount_joins_two_processes,
            programs_run_from_the_mount_and_cannot_be_written_meanwhile,
        ]
    );
}

mod alone {
    use super::*;
    variant_tests!(
        native,
        Variant::Native,
        on_mount,
        [
            a_socket_in_the_mount_connects,
            a_fifo_in_the_mount_joins_two_processes,
            programs_run_from_the_mount_and_cannot_be_written_meanwhile,
        ]
    );
}
