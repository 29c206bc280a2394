//! INIT, from the side of the device: read, answered, and what came of it.

use super::{Backing, Device, Errno, Negotiated, capabilities::Wishes, negotiate, pipe::Pipe};
use crate::{
    config::{Config, DataChoice, TransportKind},
    error::{Error, Result},
};
use std::os::fd::AsFd;
use transport::wire::{InHeader, InitFlags, InitIn, InitOut, MIN_READ_BUFFER, Opcode, OutHeader};

/// A mount on which INIT has been answered.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The channel that was mounted.
    pub device: Device,
    /// How requests will travel.
    pub kind: TransportKind,
    /// What was agreed on.
    pub negotiated: Negotiated,
    /// Whether the kernel sends requests again (`FUSE_HAS_RESEND`).
    pub resends: bool,
}

impl Agreed {
    /// Answers INIT on a `device` that has just been mounted. Waits for INIT, which mount(2) sends.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`]: the kernel lacks what the configuration insists on; the mount then
    /// answers nothing and is to be unmounted. [`Error::System`]: `/dev/fuse` failed.
    pub fn on(device: Device, config: &Config, kind: TransportKind) -> Result<Self> {
        let wishes = Wishes {
            config,
            kind,
            payload_max: match kind {
                TransportKind::Splice => Pipe::new(negotiate::PAYLOAD_MAX)?.payload_max(),
                _ => negotiate::PAYLOAD_MAX,
            },
        };
        let (header, init) = read_init(&device)?;
        let agreement = negotiate::agree(&init, &wishes)?;
        write_init(&device, &header, &agreement.reply)?;
        let mut negotiated = agreement.negotiated;
        if negotiated.flags.contains(InitFlags::PASSTHROUGH) {
            match probe_passthrough(&device) {
                Ok(()) => {}
                Err(error) if config.data == DataChoice::Auto => {
                    tracing::info!("{error}: data goes through the daemon");
                    negotiated.flags.remove(InitFlags::PASSTHROUGH);
                }
                Err(error) => return Err(error),
            }
        }
        tracing::debug!(?negotiated, kind = agreement.kind.name(), "INIT");
        let offered = InitFlags::from_words(init.flags, init.flags2);
        Ok(Self {
            device,
            kind: agreement.kind,
            negotiated,
            resends: offered.contains(InitFlags::HAS_RESEND),
        })
    }
}

fn read_init(device: &Device) -> Result<(InHeader, InitIn)> {
    let mut buffer = vec![0; MIN_READ_BUFFER];
    let len = loop {
        match device.read(&mut buffer) {
            Ok(len) => break len,
            Err(Errno::INTR | Errno::NOENT) => {}
            Err(Errno::AGAIN) => device
                .wait_readable()
                .map_err(|errno| Error::system("cannot wait for INIT", errno))?,
            Err(errno) => return Err(Error::system("cannot read INIT from /dev/fuse", errno)),
        }
    };
    let request = &buffer[..len];
    let (header, body) = request
        .split_at_checked(size_of::<InHeader>())
        .ok_or_else(|| Error::Protocol(format!("a request of {len} bytes")))?;
    let header: InHeader = bytemuck::pod_read_unaligned(header);
    let body = body.get(..size_of::<InitIn>());
    match body {
        Some(body) if header.opcode == Opcode::INIT => {
            Ok((header, bytemuck::pod_read_unaligned(body)))
        }
        _ => Err(Error::Protocol(format!(
            "{} of {len} bytes where INIT was expected",
            header.opcode
        ))),
    }
}

fn write_init(device: &Device, header: &InHeader, reply: &InitOut) -> Result<()> {
    let out = OutHeader {
        len: (size_of::<OutHeader>() + size_of::<InitOut>()) as u32,
        error: 0,
        unique: header.unique,
    };
    let message = [
        std::io::IoSlice::new(bytemuck::bytes_of(&out)),
        std::io::IoSlice::new(bytemuck::bytes_of(reply)),
    ];
    device
        .writev(&message)
        .map_err(|errno| Error::system("cannot answer INIT", errno))
}

/// Whether this process may register backing files: the kernel looks at the privilege before the
/// file (`fuse_backing_open`, fs/fuse/backing.c), so that a descriptor that cannot be a regular
/// file tells.
fn probe_passthrough(device: &Device) -> Result<()> {
    match Backing::open(device, device.as_fd()) {
        Ok(id) => drop(Backing::close(device, id)),
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            return Err(Error::Unsupported {
                what: "passthrough is only for CAP_SYS_ADMIN".into(),
                remedy: "run as root outside a user namespace, or use '--data copy'".into(),
            });
        }
        Err(_) => {}
    }
    Ok(())
}
