//! What is said of rules in force.

use super::{book::Book, document::RuleTable, transform::TransformTable};
use crate::error::Result;
use serde_json::{Value, json};
use std::fmt;

/// The rules of a mount at one moment.
#[derive(Debug)]
pub struct Listing(Vec<Listed>, Vec<TransformTable>);

#[derive(Debug)]
struct Listed {
    table: RuleTable,
    met: u64,
    limited: u64,
}

impl Listing {
    /// Of the rules in force.
    ///
    /// # Errors
    ///
    /// As [`Book::in_force`].
    pub fn of(book: &Book) -> Result<Self> {
        let (spec, in_force) = book.in_force()?;
        let rules = spec.document.rule.into_iter().zip(in_force);
        let listed = rules.map(|(table, (_, place))| {
            let state = book.state(place);
            Listed {
                table: table.into_inner(),
                met: state.map_or(0, |state| state.met.get()),
                limited: state.map_or(0, |state| state.limited.get()),
            }
        });
        let transforms = spec.document.transform.into_iter();
        let transforms = transforms.map(toml::Spanned::into_inner).collect();
        Ok(Self(listed.collect(), transforms))
    }

    /// As JSON: what each rule says as in the file, with `met` and `limited`; then the transformations,
    /// whose action is `transform`.
    pub fn to_json(&self) -> Value {
        let rules = self.0.iter().map(|rule| {
            let mut value = serde_json::to_value(&rule.table).unwrap_or_default();
            value["met"] = json!(rule.met);
            value["limited"] = json!(rule.limited);
            value
        });
        let transforms = self.1.iter().map(|table| {
            let mut value = serde_json::to_value(table).unwrap_or_default();
            value["action"] = json!("transform");
            value
        });
        rules.chain(transforms).collect()
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() && self.1.is_empty() {
            return writeln!(f, "no rules");
        }
        writeln!(
            f,
            "{:24} {:6} {:>12} {:>9}  terms",
            "rule", "action", "met", "limited"
        )?;
        for rule in &self.0 {
            let (name, action) = (rule.table.name.get_ref(), rule.table.action.get_ref());
            write!(
                f,
                "{name:24} {action:6} {:>12} {:>9} ",
                rule.met, rule.limited
            )?;
            terms(f, &rule.table)?;
        }
        for table in &self.1 {
            let name = table.name.get_ref();
            write!(f, "{name:24} {:6} {:>12} {:>9} ", "show", "-", "-")?;
            terms(f, table)?;
        }
        Ok(())
    }
}

/// What a table says besides its name and action.
fn terms(f: &mut fmt::Formatter<'_>, table: &impl serde::Serialize) -> fmt::Result {
    let value = serde_json::to_value(table).unwrap_or_default();
    for (key, value) in value.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "name" | "action") {
            write!(f, " {key}={value}")?;
        }
    }
    writeln!(f)
}
