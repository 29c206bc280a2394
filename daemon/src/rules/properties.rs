//! Rules of any document against a plain loop over them, and documents of any bytes.

use super::{
    book::Book,
    document::Source,
    spec::{RuleSpec, Spec},
    values,
};
use crate::error::{Error, Result};
use proptest::{prelude::*, sample::select};
use transport::rules::{Action, Asked, Ruling, judge, judge::Circumstances};
use transport::wire::Opcode;

/// Directories that rules name; their numbers are their places, from 2 on.
const SUBTREES: [&str; 3] = ["", "a", "a/b"];
/// Names that are looked up; the last one no rule speaks of.
const NAMES: [&str; 4] = ["x", "core", "id_rsa", "other"];
/// What rules and requests are about, so few that they meet.
const REQUESTS: [&str; 7] = [
    "READ",
    "WRITE",
    "LOOKUP",
    "OPEN",
    "OPEN_FOR_WRITING",
    "changes",
    "listing",
];

fn number_of(path: &str) -> Result<u64> {
    let place = SUBTREES.iter().position(|subtree| *subtree == path);
    place
        .map(|place| place as u64 + 2)
        .ok_or_else(|| Error::refused(path, "there is none", ""))
}

fn parse(text: &str) -> Result<Spec> {
    Spec::parse(Source {
        name: "rules.toml",
        text,
    })
}

/// A number as a rule writes it, or a range of small ones.
fn range() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u32..4).prop_map(|n| n.to_string()),
        (0u32..4, 0u32..4).prop_map(|(min, more)| format!("'{min}-{}'", min + more)),
        (0u32..4).prop_map(|n| format!("'{n}-'")),
        (0u32..4).prop_map(|n| format!("'-{n}'")),
    ]
}

fn action() -> impl Strategy<Value = String> {
    select(vec![
        "action = 'allow'",
        "action = 'count'",
        "action = 'deny'",
        "action = 'deny'\nerrno = 'EPERM'",
        "action = 'lane'",
        "action = 'lane'\npriority = 'low'",
        "action = 'limit'\nrate = '1/h'",
        "action = 'limit'\nrate = '1/h'\nburst = 3\nerrno = 11",
    ])
    .prop_map(str::to_owned)
}

/// The requests of a rule, or the names; both together are for LOOKUP alone.
fn about() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        3 => prop::collection::vec(select(&REQUESTS[..]), 1..3)
            .prop_map(|requests| format!("requests = {requests:?}\n")),
        1 => prop::collection::vec(select(&NAMES[..3]), 1..3)
            .prop_map(|names| format!("names = {names:?}\n")),
    ]
}

/// What stands in a `[[rule]]` behind its name.
fn terms() -> impl Strategy<Value = String> {
    let span = || prop::option::weighted(0.3, range());
    let spans = (span(), span(), span(), span());
    let subtree = prop::option::weighted(0.2, select(&SUBTREES[..]));
    let nodeid = prop::option::weighted(0.2, 1u64..4);
    (action(), about(), spans, subtree, nodeid).prop_map(
        |(action, about, (uid, gid, pid, size), subtree, nodeid)| {
            let mut text = format!("{action}\n{about}");
            for (key, value) in [("uid", uid), ("gid", gid), ("pid", pid), ("size", size)] {
                if let Some(value) = value {
                    text += &format!("{key} = {value}\n");
                }
            }
            if let Some(path) = subtree {
                text += &format!("subtree = '{path}'\n");
            }
            if let Some(nodeid) = nodeid {
                text += &format!("nodeid = {nodeid}\n");
            }
            text
        },
    )
}

fn document() -> impl Strategy<Value = String> {
    prop::collection::vec(terms(), 0..12).prop_map(|rules| {
        let rules = rules.iter().enumerate();
        rules
            .map(|(index, terms)| format!("[[rule]]\nname = 'r{index}'\n{terms}\n"))
            .collect()
    })
}

/// A request, with what a judge can find out about it.
#[derive(Clone, Debug)]
struct Request {
    asked: Asked,
    name: &'static str,
    /// The directories that its inode lies in, as bits by number.
    within: u64,
}

impl Circumstances for Request {
    type Name<'n> = &'n [u8];

    fn name(&self) -> Option<(&[u8], usize)> {
        Some((self.name.as_bytes(), self.name.len()))
    }

    const KNOWS_NAMES: bool = true;
    const KNOWS_TREE: bool = true;

    fn is_within(&self, directory: u64) -> bool {
        self.within >> directory & 1 != 0
    }

    /// A clock that stands still: a limit lets pass what its bucket holds.
    fn now_ns(&self) -> u64 {
        1 << 60
    }
}

fn request() -> impl Strategy<Value = Request> {
    let opcodes = [
        Opcode::READ,
        Opcode::WRITE,
        Opcode::LOOKUP,
        Opcode::OPEN,
        Opcode::READDIR,
        Opcode::UNLINK,
        Opcode::GETATTR,
    ];
    let caller = (0u64..5, 0u64..5, 0u64..5);
    let fixed = (select(&[0u64, 1, 2, 0o1000][..]), 0u64..6);
    (
        select(opcodes.to_vec()),
        1u64..5,
        caller,
        fixed,
        select(&NAMES[..]),
        0u64..8,
    )
        .prop_map(
            |(opcode, nodeid, (uid, gid, pid), (flags, size), name, within)| {
                let caller = [uid | gid << 32, pid];
                let asked = Asked::new(opcode, nodeid, caller, |word| [flags, 0, size][word]);
                Request {
                    asked,
                    name,
                    within: within << 2,
                }
            },
        )
}

/// Whether a rule is about a request, term by term.
fn is_about(rule: &RuleSpec, request: &Request) -> bool {
    let asked = &request.asked;
    let spans = [
        (rule.uid, asked.uid),
        (rule.gid, asked.gid),
        (rule.pid, asked.pid),
        (rule.size, asked.size),
    ];
    rule.rows >> asked.row & 1 != 0
        && spans
            .iter()
            .all(|(span, n)| span.min <= *n && *n <= span.max)
        && (rule.nodeid == 0 || rule.nodeid == asked.nodeid)
        && (rule.names.is_empty() || rule.names.iter().any(|name| name == request.name))
        && rule.subtree.as_ref().is_none_or(|path| {
            let number = number_of(path).expect("rules name what there is");
            request.is_within(number)
        })
}

/// Rules as they are described: the first that a request meets decides, `count` lets it go on, and each
/// one met is counted.
struct Plain<'s> {
    rules: &'s [RuleSpec],
    met: Vec<u64>,
    limited: Vec<u64>,
}

impl Plain<'_> {
    fn judge(&mut self, request: &Request) -> Ruling {
        for (index, rule) in self.rules.iter().enumerate() {
            if !is_about(rule, request) {
                continue;
            }
            self.met[index] += 1;
            match rule.action {
                Action::Count => {}
                Action::Allow => return Ruling::Pass,
                Action::Deny(errno) => return Ruling::Deny(errno),
                Action::Lane(priority) => return Ruling::Lane(priority),
                Action::Limit(errno) => {
                    if self.met[index] - self.limited[index] <= rule.limit.1 {
                        return Ruling::Pass;
                    }
                    self.limited[index] += 1;
                    return Ruling::Deny(errno);
                }
            }
        }
        Ruling::Pass
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rules_judge_as_a_loop_over_them_does(
        text in document(),
        requests in prop::collection::vec(request(), 1..60),
    ) {
        let spec = parse(&text).unwrap();
        let book = Book::in_file().unwrap();
        book.change(|_| Ok(spec.clone()), number_of).unwrap();
        let zeros = || vec![0; spec.rules.len()];
        let mut plain = Plain { rules: &spec.rules, met: zeros(), limited: zeros() };
        for request in &requests {
            let ruling = judge(book.get(), &request.asked, request);
            prop_assert_eq!(ruling, plain.judge(request), "{:?}", request);
        }
        let (_, in_force) = book.in_force().unwrap();
        let states = in_force.iter().map(|(_, place)| book.state(*place).unwrap());
        let (met, limited): (Vec<_>, Vec<_>) =
            states.map(|state| (state.met.get(), state.limited.get())).unzip();
        prop_assert_eq!((met, limited), (plain.met, plain.limited));
    }

    #[test]
    fn rules_in_force_are_written_and_read_as_the_same(text in document()) {
        let spec = parse(&text).unwrap();
        let book = Book::in_file().unwrap();
        book.change(|_| Ok(spec.clone()), number_of).unwrap();
        let (listed, before) = book.in_force().unwrap();
        prop_assert_eq!(&listed.rules, &spec.rules);
        let again = parse(&listed.document.to_text().unwrap()).unwrap();
        prop_assert_eq!(&again.rules, &spec.rules);
        // The same rules again: each is counted where it was.
        book.change(|_| Ok(again), number_of).unwrap();
        let (_, after) = book.in_force().unwrap();
        prop_assert_eq!(after, before);
    }

    #[test]
    fn no_text_causes_a_panic_and_what_is_refused_has_a_line_and_a_remedy(bytes: Vec<u8>) {
        is_told_if_refused(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn no_damage_to_a_document_causes_a_panic(
        text in document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..4),
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, to) in damage {
            if !chars.is_empty() {
                let at = at.index(chars.len());
                chars[at] = to;
            }
        }
        is_told_if_refused(&chars.into_iter().collect::<String>())?;
    }

    #[test]
    fn a_wrong_value_is_told_with_its_rule_its_key_and_a_remedy(
        key in select(vec!["uid", "gid", "pid", "size", "nodeid", "subtree", "names", "requests"]),
        value in "[ -~]{0,12}",
    ) {
        let quoted = toml::Value::String(value);
        let text = format!("[[rule]]\nname = 'of all'\naction = 'allow'\n{key} = {quoted}\n");
        if let Err(error) = parse(&text) {
            let error = error.to_string();
            let begins = format!("rules.toml:4: rule 'of all', {key}: ");
            prop_assert!(error.starts_with(&begins) && error.ends_with(')'), "{}", error);
        }
    }

    #[test]
    fn no_value_causes_a_panic(text: String, number: i64) {
        for value in [toml::Value::String(text), toml::Value::Integer(number)] {
            let _ = (values::span(&value), values::sizes(&value), values::rate(&value));
            let _ = (values::errno(&value), values::names(&value), values::requests(&value));
        }
    }
}

/// What is refused is refused with the file's name, a line that it has, and what to do about it.
fn is_told_if_refused(text: &str) -> Result<(), TestCaseError> {
    let Err(error) = parse(text) else {
        return Ok(());
    };
    let Error::Refused { thing, why, remedy } = &error else {
        return Err(TestCaseError::fail(format!("{error:?}")));
    };
    let line = thing
        .strip_prefix("rules.toml:")
        .and_then(|line| line.parse().ok());
    let lines = text.matches('\n').count() + 1;
    prop_assert!(
        line.is_some_and(|line| (1..=lines).contains(&line)),
        "{thing} of {lines}"
    );
    prop_assert!(!why.is_empty() && !remedy.is_empty(), "{error}");
    Ok(())
}
