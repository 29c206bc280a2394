//! One hook a file; each is named for the tracepoint it sits on.

mod fuse_request_end;
mod fuse_request_send;
mod io_uring_complete;
