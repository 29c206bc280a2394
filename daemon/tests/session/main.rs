//! Sessions and the classic transport without a kernel.

mod fake;
mod kernel;

use bytemuck::{bytes_of, pod_read_unaligned};
use fake::{ANSWERS, Fake, PANICS, TOO_LONG, WAITS};
use kernel::{Kernel, device};
use proptest::prelude::*;
use shmfuse::{
    config::{Config, DataChoice, TransportChoice, TransportKind},
    error::Error,
    fuse::{Errno, Session},
    serve::{self, Server},
};
use std::sync::Arc;
use transport::wire::*;

fn config() -> Config {
    Config {
        transport: TransportChoice::Only(TransportKind::Classic),
        max_write: 65536,
        ..Config::plain("/", "/")
    }
}

fn offer(flags: InitFlags) -> InitIn {
    InitIn {
        major: 7,
        minor: 45,
        max_readahead: 131_072,
        flags: flags.low(),
        flags2: flags.high(),
        ..InitIn::default()
    }
}

/// What the kernel is told at INIT, and the session that comes of it.
type Agreed = Result<(InitOut, Arc<Session>), Error>;

/// Who takes part in an INIT, and what comes of it.
fn handshake(init: InitIn, config: Config, kind: TransportKind) -> (Kernel, Arc<Fake>, Agreed) {
    let (kernel, device) = device();
    kernel.request(Opcode::INIT, 0, 2, bytes_of(&init));
    let fs = Arc::new(Fake::default());
    let session = Session::handshake(device, Arc::clone(&fs) as _, Arc::new(config), kind);
    let agreed = session.map(|session| {
        let (header, body) = kernel.receive();
        assert_eq!((header.unique, header.error), (2, 0));
        (pod_read_unaligned(&body), session)
    });
    (kernel, fs, agreed)
}

fn serving() -> (Kernel, Arc<Fake>, Server) {
    let init = offer(InitFlags::all());
    let (kernel, fs, agreed) = handshake(init, config(), TransportKind::Classic);
    let (_, session) = agreed.expect("INIT");
    let server = serve::start(session).expect("a thread");
    (kernel, fs, server)
}

fn stop(server: Server) {
    server.session().stop();
    server.wait().expect("no error");
}

fn message<T>(outcome: Result<T, Error>) -> String {
    outcome.err().expect("an error").to_string()
}

#[test]
fn a_kernel_that_is_too_old_is_refused_by_its_version() {
    let mut init = offer(InitFlags::all());
    init.minor = 35;
    let (_, _, agreed) = handshake(init, config(), TransportKind::Classic);
    let message = message(agreed);
    assert!(
        message.contains("7.35") && message.contains("5.17"),
        "{message}"
    );
}

#[test]
fn a_newer_kernel_gets_the_version_we_know() {
    let mut init = offer(InitFlags::all());
    init.minor = 99;
    let (_, _, agreed) = handshake(init, config(), TransportKind::Classic);
    let (reply, _) = agreed.expect("INIT");
    assert_eq!((reply.major, reply.minor), (7, 45));
}

#[test]
fn nothing_is_agreed_to_that_was_not_offered() {
    let offered = InitFlags::ASYNC_READ | InitFlags::MAX_PAGES | InitFlags::WRITEBACK_CACHE;
    let (_, _, agreed) = handshake(offer(offered), config(), TransportKind::Classic);
    let (reply, session) = agreed.expect("INIT");
    let agreed = InitFlags::from_words(reply.flags, reply.flags2);
    assert_eq!(agreed, InitFlags::ASYNC_READ | InitFlags::MAX_PAGES);
    assert_eq!(session.negotiated().flags, agreed);
}

#[test]
fn readahead_may_be_larger_than_a_write() {
    let (_, _, agreed) = handshake(offer(InitFlags::all()), config(), TransportKind::Classic);
    let (reply, session) = agreed.expect("INIT");
    assert_eq!((reply.max_write, reply.max_pages), (65536, 32));
    assert_eq!(session.negotiated().max_payload(), 131_072);
}

#[test]
fn a_write_of_the_splice_transport_fits_a_pipe() {
    let mut config = config();
    config.max_write = 1 << 20;
    let (_, _, agreed) = handshake(offer(InitFlags::all()), config, TransportKind::Splice);
    let (reply, session) = agreed.expect("INIT");
    let pipe = shmfuse::fuse::pipe::Pipe::new(1 << 20).expect("a pipe");
    assert!(reply.max_write as usize <= pipe.payload_max());
    assert!(session.negotiated().max_payload() <= pipe.payload_max());
}

#[test]
fn passthrough_that_the_kernel_lacks_is_an_error_if_insisted_on_and_else_copied() {
    let without = offer(InitFlags::all() - InitFlags::PASSTHROUGH);
    let mut insists = config();
    insists.data = DataChoice::Passthrough;
    let (_, _, agreed) = handshake(without, insists.clone(), TransportKind::Classic);
    assert!(message(agreed).contains("CONFIG_FUSE_PASSTHROUGH"));

    let mut takes = insists;
    takes.data = DataChoice::Auto;
    let (_, _, agreed) = handshake(without, takes, TransportKind::Classic);
    let (reply, session) = agreed.expect("INIT");
    assert_eq!(reply.max_stack_depth, 0);
    assert!(!session.negotiated().flags.contains(InitFlags::PASSTHROUGH));
}

#[test]
fn passthrough_stacks_one_above_the_lower_directory() {
    for depth in [0, 1] {
        let mut config = config();
        config.data = DataChoice::Auto;
        config.lower_stack_depth = depth;
        let offered = offer(InitFlags::all());
        let (_, _, agreed) = handshake(offered, config, TransportKind::Classic);
        let (reply, _) = agreed.expect("INIT");
        assert_eq!(reply.max_stack_depth, depth + 1);
    }
    let mut config = config();
    config.data = DataChoice::Passthrough;
    config.lower_stack_depth = 2;
    let (_, _, agreed) = handshake(offer(InitFlags::all()), config, TransportKind::Classic);
    assert!(message(agreed).contains("too deep"));
}

#[test]
fn io_uring_that_the_kernel_lacks_is_an_error_if_insisted_on_and_else_classic() {
    let without = offer(InitFlags::all() - InitFlags::OVER_IO_URING);
    let mut config = config();
    config.transport = TransportChoice::Only(TransportKind::Uring);
    let (_, _, agreed) = handshake(without, config.clone(), TransportKind::Uring);
    assert!(message(agreed).contains("enable_uring"));

    config.transport = TransportChoice::Auto;
    let (_, _, agreed) = handshake(without, config, TransportKind::Uring);
    let (_, session) = agreed.expect("INIT");
    assert_eq!(session.kind(), TransportKind::Classic);
}

#[test]
fn what_is_not_init_is_refused() {
    let (kernel, device) = device();
    kernel.request(Opcode::LOOKUP, 1, 2, b"name\0");
    let fs = Arc::new(Fake::default());
    let kind = TransportKind::Classic;
    let session = Session::handshake(device, fs, Arc::new(config()), kind);
    assert!(message(session).contains("LOOKUP"));
}

#[test]
fn a_request_gets_its_answer_and_an_unknown_one_enosys() {
    let (kernel, _, server) = serving();
    kernel.request(Opcode::LOOKUP, ANSWERS, 4, b"name\0");
    kernel.expect_body(4, b"name\0");
    kernel.request(Opcode(4000), 1, 6, b"whatever");
    kernel.expect(6, Errno::NOSYS);
    stop(server);
}

#[test]
fn a_panic_or_an_answer_too_long_is_eio_and_the_thread_goes_on() {
    let (kernel, _, server) = serving();
    for (nodeid, unique) in [(PANICS, 4), (TOO_LONG, 6), (PANICS, 8)] {
        kernel.request(Opcode::LOOKUP, nodeid, unique, b"name\0");
        kernel.expect(unique, Errno::IO);
    }
    // What has no reply gets one then, which the kernel does not look at.
    let forget = ForgetIn { nlookup: 1 };
    kernel.request(Opcode::FORGET, PANICS, 10, bytes_of(&forget));
    kernel.expect(10, Errno::IO);
    kernel.request(Opcode::LOOKUP, ANSWERS, 12, b"name\0");
    kernel.expect_body(12, b"name\0");
    assert_eq!(server.session().counters().panics.get(), 3);
    stop(server);
}

#[test]
fn a_request_shorter_than_its_opcode_needs_gets_eio() {
    let (kernel, _, server) = serving();
    kernel.request(Opcode::WRITE, ANSWERS, 4, &[0; size_of::<WriteIn>() - 1]);
    kernel.expect(4, Errno::IO);
    let mut lies = InHeader {
        len: 48,
        opcode: Opcode::LOOKUP,
        unique: 6,
        nodeid: ANSWERS,
        ..InHeader::default()
    };
    kernel.send(bytes_of(&lies));
    kernel.expect(6, Errno::IO);
    (lies.len, lies.unique) = (u32::MAX, 8);
    kernel.send(bytes_of(&lies));
    kernel.expect(8, Errno::IO);
    assert_eq!(server.session().counters().malformed.get(), 3);
    stop(server);
}

#[test]
fn what_is_no_request_at_all_ends_the_session() {
    let (kernel, fs, server) = serving();
    kernel.send(&[0; size_of::<InHeader>() - 1]);
    assert!(message(server.wait()).contains("without a header"));
    assert_eq!(*fs.ended.lock().unwrap(), 1);
}

#[test]
fn forgets_reach_the_file_system_and_get_no_reply() {
    let (kernel, fs, server) = serving();
    kernel.request(Opcode::FORGET, 5, 2, bytes_of(&ForgetIn { nlookup: 3 }));
    let entries = [
        ForgetOne {
            nodeid: 6,
            nlookup: 1,
        },
        ForgetOne {
            nodeid: 7,
            nlookup: 2,
        },
    ];
    // One more is announced than there is.
    let head = BatchForgetIn { count: 3, dummy: 0 };
    let body = [bytes_of(&head), bytemuck::cast_slice(&entries)].concat();
    kernel.request(Opcode::BATCH_FORGET, 0, 4, &body);
    kernel.request(Opcode::LOOKUP, ANSWERS, 6, b"name\0");
    kernel.expect_body(6, b"name\0");
    let forgotten = fs.forgotten.lock().unwrap().clone();
    let single = ForgetOne {
        nodeid: 5,
        nlookup: 3,
    };
    assert_eq!(forgotten, [single, entries[0], entries[1]]);
    stop(server);
}

#[test]
fn destroy_ends_the_file_system_once() {
    let (kernel, fs, server) = serving();
    kernel.request(Opcode::DESTROY, 0, 4, &[]);
    kernel.expect_body(4, &[]);
    stop(server);
    assert_eq!(*fs.ended.lock().unwrap(), 1);
}

#[test]
fn an_interrupt_ends_a_wait_whichever_comes_first() {
    let (kernel, _, server) = serving();
    let interrupt = |unique: u64| {
        let body = InterruptIn { unique };
        kernel.request(Opcode::INTERRUPT, 0, unique | 1, bytes_of(&body));
    };
    kernel.request(Opcode::LOOKUP, WAITS, 4, b"name\0");
    // The only thread of the transport is free meanwhile.
    kernel.request(Opcode::LOOKUP, ANSWERS, 6, b"name\0");
    kernel.expect_body(6, b"name\0");
    interrupt(4);
    kernel.expect(4, Errno::INTR);

    interrupt(8);
    kernel.request(Opcode::LOOKUP, WAITS, 8, b"name\0");
    kernel.expect(8, Errno::INTR);

    // Of a request that has been answered: nothing happens, and nothing to a later one.
    interrupt(6);
    kernel.request(Opcode::LOOKUP, ANSWERS, 10, b"name\0");
    kernel.expect_body(10, b"name\0");
    stop(server);
}

#[test]
fn stopping_interrupts_those_who_wait() {
    let (kernel, fs, server) = serving();
    for unique in [4, 6, 8] {
        kernel.request(Opcode::LOOKUP, WAITS, unique, b"name\0");
    }
    kernel.request(Opcode::LOOKUP, ANSWERS, 10, b"name\0");
    kernel.expect_body(10, b"name\0");
    stop(server);
    assert_eq!(*fs.ended.lock().unwrap(), 1);
}

/// A request with any opcode, length and contents, but a header.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![0_u32..64, any::<u32>()];
    let nodeid = prop_oneof![Just(ANSWERS), Just(PANICS), any::<u64>()];
    let len_error = prop_oneof![4 => Just(0_i32), 1 => any::<i32>()];
    let body = prop::collection::vec(any::<u8>(), 0..300);
    (opcode, nodeid, len_error, body).prop_map(|(opcode, nodeid, len_error, body)| {
        let len = (size_of::<InHeader>() + body.len()) as u32;
        let header = InHeader {
            len: len.wrapping_add_signed(len_error),
            opcode: Opcode(opcode),
            unique: 3,
            nodeid: if nodeid == WAITS { ANSWERS } else { nodeid },
            ..InHeader::default()
        };
        [bytes_of(&header), &body].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_sent_the_thread_goes_on(requests in prop::collection::vec(any_request(), 1..40)) {
        let (kernel, _, server) = serving();
        for request in &requests {
            kernel.send(request);
        }
        kernel.request(Opcode::LOOKUP, ANSWERS, 4, b"name\0");
        loop {
            let (header, body) = kernel.receive();
            if header.unique == 4 {
                prop_assert_eq!(&body[..], b"name\0");
                break;
            }
        }
        stop(server);
    }
}
