//! Numbers for Prometheus, on request: `--metrics`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`text`] | the numbers in Prometheus' text format |
//!
//! One thread answers one question at a time. It has no privileges, and nothing waits for it. What it tells
//! is no secret to root, but names paths and says what is done how often: it is bound to the loopback
//! device unless an address is given.

pub mod text;

use crate::{
    error::{Error, Result},
    fuse::Session,
    mount::table::MountTable,
    privilege,
    top::Watched,
};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// How long somebody may take to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest question in bytes.
const QUESTION_MAX: usize = 8 << 10;

/// Starts to answer at `address`. Where requests cannot be counted, which takes root, the rest is told.
///
/// # Errors
///
/// The address cannot be had.
pub fn start(session: &Arc<Session>, address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).map_err(|error| {
        Error::refused(
            format!("--metrics {address}"),
            crate::error::why(&error),
            "choose another port",
        )
    })?;
    let place = &session.config().mountpoint;
    let mount = MountTable::read()?.top(place).cloned();
    let own = rustix::process::getpid();
    let watched = mount.and_then(|mount| {
        Watched::of(mount, own)
            .inspect_err(|error| tracing::warn!("requests are not in the metrics: {error}"))
            .ok()
    });
    let local = listener.local_addr().unwrap_or(address);
    tracing::info!("metrics at http://{local}/metrics");
    let session = Arc::clone(session);
    let body = move || {
        if let Err(error) = privilege::settle_bystander() {
            return tracing::error!("no metrics: {error}");
        }
        for asked in listener.incoming() {
            // Whoever asks and goes, or asks too slowly, has no answer.
            let _ = asked.and_then(|stream| answer(&stream, &session, watched.as_ref()));
        }
    };
    thread::Builder::new()
        .name("metrics".into())
        .spawn(body)
        .map_err(|error| Error::system("cannot start a thread", error))?;
    Ok(())
}

fn answer(stream: &TcpStream, session: &Session, watched: Option<&Watched>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let question = question(stream)?;
    let (status, body) = match question.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", ..] => ("200 OK", text::render(session, watched)),
        ["GET", ..] => ("404 Not Found", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

/// The first line of a question, which is read to its end.
fn question(mut stream: &TcpStream) -> io::Result<String> {
    let (mut text, mut piece) = (Vec::new(), [0; 512]);
    while !text.windows(4).any(|end| end == b"\r\n\r\n") && text.len() < QUESTION_MAX {
        match stream.read(&mut piece)? {
            0 => break,
            len => text.extend(&piece[..len]),
        }
    }
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
