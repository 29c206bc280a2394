//! One hook a file; each is named for the tracepoint it sits on.

mod ext4_da_reserve_space;
mod ext4_journal_start_inode;
mod ext4_mark_inode_dirty;
mod fuse_request_end;
mod fuse_request_send;
mod io_uring_complete;
mod io_uring_submit_req;
mod sys_exit;
