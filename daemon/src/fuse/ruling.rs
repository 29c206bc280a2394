//! Requests that rules are about, on their way from a transport to the file system.

use super::{
    Errno, FileSystem, OwnedExchange, Reply, Session, fulfil::fulfil, kick::KickHandle,
    lanes::Turn, session::is_of_session, slow,
};
use crate::{
    error::Result,
    rules::{
        book::Book,
        serving::{Course, Rules, Seen},
    },
};
use std::sync::Arc;
use transport::{
    rules::{Priority, Ruling},
    wire::InHeader,
};

impl Session {
    /// Goes by `book` from now on, in which the rules of the configuration are put into force. To be
    /// called once, before requests are served.
    ///
    /// # Errors
    ///
    /// If a subtree of them is not there.
    pub fn go_by(&self, book: Book) -> Result<()> {
        let spec = self.config().rules.as_ref();
        let rules = Arc::new(Rules::new(book, spec, &*self.fs)?);
        self.fs.use_rules(Arc::clone(&rules));
        // Called once.
        let _ = self.rules.set(rules);
        // Before any request is answered.
        self.show_by_book()
    }

    /// Whether some request may have to be refused, or to go to the lane for bulk.
    pub fn has_rules(&self) -> bool {
        self.rules.get().is_some_and(|rules| !rules.is_empty())
    }

    /// What is to be done with a request, of which the kernel program said `ruled`:
    /// [`Ruling::Undecided`] if it has not seen it. `payload` is what follows the fixed part.
    pub fn course(&self, ruled: Ruling, header: &InHeader, fixed: &[u8], payload: &[u8]) -> Course {
        let Some(rules) = self.rules.get() else {
            return Course::Serve;
        };
        if ruled == Ruling::Pass || is_of_session(header.opcode) {
            return Course::Serve;
        }
        let fs: &dyn FileSystem = &*self.fs;
        let course = rules.course(
            ruled,
            &Seen {
                header,
                fixed,
                payload,
                fs,
            },
        );
        match course {
            Course::Lane(_) if !self.lanes.has_room() => Course::Serve,
            course => course,
        }
    }

    /// Serves a request on the lane for bulk, and gives `complete` what to send. An interrupt takes it
    /// out of the lane as long as it waits there, and reaches it where it is served.
    pub fn serve_on_lane<C>(
        self: &Arc<Self>,
        mut exchange: OwnedExchange,
        priority: Priority,
        complete: C,
    ) where
        C: FnOnce(OwnedExchange, Reply) + Send + 'static,
    {
        use super::Exchange as _;
        let session = Arc::clone(self);
        let InHeader { unique, opcode, .. } = *exchange.header();
        self.counters().served_on_lane.count();
        let job = move |turn: Turn<'_>| {
            let answer = match turn {
                Turn::Withdrawn => Err(Errno::INTR),
                Turn::Failed(error) => {
                    tracing::warn!(%opcode, %error, "a request on the lane for bulk is refused");
                    Err(slow::refusal_of(opcode))
                }
                Turn::Serve(thread) => match KickHandle::of_this_thread() {
                    Ok(kick) => {
                        let flag = thread.interrupt_flag();
                        let _registered = session.interrupts.register(unique, kick, flag, None);
                        session.serve(thread, &mut exchange)
                    }
                    Err(error) => {
                        tracing::warn!(%opcode, %error, "a request on the lane for bulk is refused");
                        Err(slow::refusal_of(opcode))
                    }
                },
            };
            let reply = fulfil(answer, &mut exchange);
            complete(exchange, reply);
        };
        self.lanes.submit(unique, priority, Box::new(job));
        // An interrupt that came before is remembered there, one that comes from now on finds the
        // request in the lane.
        if self.interrupts.came_early(unique) {
            self.lanes.withdraw(unique);
        }
    }
}
