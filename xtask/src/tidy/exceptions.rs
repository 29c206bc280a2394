//! The files that a rule spares, each with its reason. A row that spares nothing is a finding.

/// One file, one rule.
pub struct Exception {
    /// The rule's name, as a finding ends with it.
    pub rule: &'static str,
    /// From the workspace's root.
    pub path: &'static str,
    /// Why the rule is wrong there.
    #[expect(dead_code, reason = "for those who read this file")]
    pub reason: &'static str,
}

/// All of them.
pub const EXCEPTIONS: &[Exception] = &[];

#[cfg(test)]
mod tests {
    use super::EXCEPTIONS;

    #[test]
    fn no_file_is_spared_the_hard_limit() {
        assert!(EXCEPTIONS.iter().all(|e| e.rule != "length-hard"));
    }
}
