//! The terminal, while it is ours: another screen, no echo, keys without Enter. Given back when dropped.

use crate::error::{Error, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use std::io::{self, IsTerminal as _, Read as _, Write as _, stdin, stdout};

/// Control sequences (console_codes(4), xterm's): the other screen and no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal that stdin and stdout are.
#[derive(Debug)]
pub struct Screen {
    before: Termios,
}

impl Screen {
    /// Takes the terminal; none if stdin or stdout is something else.
    ///
    /// # Errors
    ///
    /// What tcsetattr(3) says.
    pub fn take() -> Result<Option<Self>> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            return Ok(None);
        }
        let cannot = |errno| Error::system("cannot use the terminal", errno);
        let before = tcgetattr(stdin()).map_err(cannot)?;
        let mut ours = before.clone();
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        tcsetattr(stdin(), OptionalActions::Now, &ours).map_err(cannot)?;
        let screen = Self { before };
        show(ENTER).map_err(|error| Error::system("cannot use the terminal", error))?;
        Ok(Some(screen))
    }

    /// Shows a text from the top, as much of it as there is room for.
    ///
    /// # Errors
    ///
    /// What write(2) says.
    pub fn draw(&self, text: &str) -> io::Result<()> {
        let (columns, rows) = match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        };
        show(&frame(text, columns.into(), rows.into()))
    }

    /// Whether somebody has pressed `q`.
    pub fn is_quit(&self) -> bool {
        let stdin = stdin();
        let now = rustix::event::Timespec::default();
        let mut byte = [0];
        while poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now)) == Ok(1) {
            match stdin.lock().read(&mut byte) {
                Ok(1) if byte[0] != b'q' => {}
                Ok(1) => return true,
                _ => return false,
            }
        }
        false
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell if the terminal has gone.
        let _ = show(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn show(text: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The text with the control sequences that put it in place of what was there.
fn frame(text: &str, columns: usize, rows: usize) -> String {
    let mut frame = String::from("\x1b[H");
    for line in text.lines().take(rows.saturating_sub(1)) {
        frame.extend(line.chars().filter(|char| !char.is_control()).take(columns));
        // The rest of the line goes blank.
        frame.push_str("\x1b[K\r\n");
    }
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_terminal_and_carries_no_control_of_others() {
        let text = "long line\nevil\x1b[2J\nthird";
        let shown = frame(text, 4, 3);
        assert_eq!(shown, "\x1b[Hlong\x1b[K\r\nevil\x1b[K\r\n\x1b[J");
    }
}
