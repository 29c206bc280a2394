//! A FUSE server of these tests' own: a root directory without files, and every request counted.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use bytemuck::Zeroable;
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};
use shmfuse::mount::table::{DeviceNumber, MountTable};
use tempfile::TempDir;
use transport::wire::{AttrOut, InHeader, InitOut, Opcode, OutHeader};

/// How many requests of each opcode a server has read.
pub type Served = BTreeMap<Opcode, u64>;

/// A mount that a thread of this process serves. Unmounted when dropped.
pub struct Mount {
    dir: TempDir,
    served: Arc<Mutex<Served>>,
    server: Option<JoinHandle<()>>,
}

impl Mount {
    /// Mounts, and waits until INIT is over.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for the mount point");
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .expect("/dev/fuse: these tests take root and a kernel with FUSE");
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        mount(
            Some("bpf_root"),
            dir.path(),
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )
        .expect("mount");
        let served = Arc::new(Mutex::new(Served::new()));
        let server = thread::spawn({
            let served = Arc::clone(&served);
            move || serve(device, &served)
        });
        let mount = Self {
            dir,
            served,
            server: Some(server),
        };
        // the kernel holds this back until INIT is answered
        mount.look_up_missing(1);
        mount
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// What tells this mount from others.
    pub fn device(&self) -> DeviceNumber {
        let table = MountTable::read().expect("/proc is mounted");
        table.top(self.root()).expect("our mount is listed").device
    }

    /// What was served so far.
    pub fn served(&self) -> Served {
        self.served.lock().unwrap().clone()
    }

    /// Asks for `count` names that are not there: as many LOOKUPs that fail.
    pub fn look_up_missing(&self, count: u64) {
        for index in 0..count {
            let path: PathBuf = self.root().join(format!("missing-{index}"));
            assert!(!path.try_exists().expect("the server answers"));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        umount2(self.root(), MntFlags::MNT_DETACH).expect("umount");
        if let Some(server) = self.server.take() {
            server.join().expect("the server came to its end");
        }
    }
}

/// Answers until the mount is gone.
fn serve(mut device: File, served: &Mutex<Served>) {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => return,
            Err(error) if is_about_a_lost_request(&error) => continue,
            Err(error) => panic!("reading /dev/fuse: {error}"),
        };
        let request: InHeader = bytemuck::pod_read_unaligned(&buffer[..size_of::<InHeader>()]);
        assert_eq!(request.len as usize, length);
        *served.lock().unwrap().entry(request.opcode).or_default() += 1;
        let (error, body) = match request.opcode {
            Opcode::FORGET | Opcode::BATCH_FORGET | Opcode::INTERRUPT => continue,
            Opcode::INIT => (0, bytemuck::bytes_of(&init()).to_vec()),
            Opcode::GETATTR => (0, bytemuck::bytes_of(&root()).to_vec()),
            Opcode::LOOKUP => (-(Errno::ENOENT as i32), Vec::new()),
            _ => (-(Errno::ENOSYS as i32), Vec::new()),
        };
        let header = OutHeader {
            len: (size_of::<OutHeader>() + body.len()) as u32,
            error,
            unique: request.unique,
        };
        match device.write(&[bytemuck::bytes_of(&header), &body].concat()) {
            Ok(_) => {}
            Err(error) if is_about_a_lost_request(&error) => {}
            Err(error) => panic!("writing /dev/fuse: {error}"),
        }
    }
}

/// Whether the request was interrupted meanwhile, so that nobody waits for it any more.
fn is_about_a_lost_request(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn init() -> InitOut {
    InitOut {
        major: 7,
        minor: 31,
        max_readahead: 65536,
        max_write: 4096,
        ..InitOut::zeroed()
    }
}

fn root() -> AttrOut {
    let mut out = AttrOut::zeroed();
    out.attr.ino = 1;
    out.attr.mode = 0o040_755;
    out.attr.nlink = 2;
    out
}
