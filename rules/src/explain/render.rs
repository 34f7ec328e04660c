//! Explanations as text for people, in lines for a page or a terminal.
//!
//! The caller decides whether the text has colours. Never here: a decision whether a condition holds.

use super::{BranchExplanation, ConditionExplanation, Explanation};
use crate::operator::exists::NO_VALUE;
use std::fmt;

/// How an explanation looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// Without colours.
    #[default]
    Plain,
    /// With ANSI escapes for colours. Conditions that hold are green, missed ones are red.
    Ansi,
}

/// The mark at the beginning of a line.
#[derive(Clone, Copy)]
enum Mark {
    Held,
    /// The first condition that was missed.
    FirstMissed,
    Missed,
}

impl Style {
    fn paint(self, mark: Mark, text: &str) -> String {
        let code = match (self, mark) {
            (Style::Plain, _) => return text.to_owned(),
            (Style::Ansi, Mark::Held) => "32",
            (Style::Ansi, Mark::FirstMissed) => "1;31",
            (Style::Ansi, Mark::Missed) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The text for a sub-rule that fails only because of arrays.
const ARRAY_INCONSISTENT: &str =
    "each condition holds by itself, but not all of them in the same element of an array";
/// How many alternatives are written in one line.
const ALTERNATIVES_SHOWN: usize = 8;

impl Explanation {
    /// The explanation in lines: first the result with the nearest miss, then every condition of every
    /// sub-rule. Each line ends with a line break.
    pub fn render(&self, style: Style) -> String {
        let mut out = String::new();
        let verdict = if self.matched {
            style.paint(Mark::Held, "matched")
        } else {
            style.paint(Mark::FirstMissed, "not matched")
        };
        out.push_str(&verdict);
        out.push('\n');
        for branch in &self.branches {
            if self.sub_rules > 1 {
                branch.headline(self.sub_rules, style, &mut out);
            }
            branch.lines(style, &mut out);
        }
        match self.sub_rules - self.branches.len() {
            0 => {}
            more => out.push_str(&format!("{more} more choices of $or not shown\n")),
        }
        out
    }

    /// The result in one line: `matched`, or the first condition that the nearest sub-rule missed, as in
    /// `data.action: wanted "opened" or "reopened"; saw "closed"`.
    pub fn summary(&self) -> String {
        if self.matched {
            return "matched".to_owned();
        }
        let Some(nearest) = self.nearest_branch() else {
            return "not matched".to_owned();
        };
        match nearest.missed() {
            Some(missed) => missed.to_string(),
            None => {
                let paths = nearest
                    .conditions
                    .iter()
                    .map(|condition| condition.path.as_str());
                let paths: Vec<&str> = paths.take(ALTERNATIVES_SHOWN).collect();
                format!("{}: {ARRAY_INCONSISTENT}", paths.join(", "))
            }
        }
    }
}

impl BranchExplanation {
    fn headline(&self, sub_rules: usize, style: Style, out: &mut String) {
        let nearness = self.nearness();
        let verdict = if self.matched {
            style.paint(Mark::Held, "matched")
        } else {
            let verdict = format!("{} of {} conditions hold", nearness.held, nearness.total);
            style.paint(Mark::Missed, &verdict)
        };
        let number = self.sub_rule + 1;
        out.push_str(&format!("$or choice {number} of {sub_rules}: {verdict}\n"));
    }

    fn lines(&self, style: Style, out: &mut String) {
        for (index, condition) in self.conditions.iter().enumerate() {
            let (mark, word) = match (condition.held, self.first_missed == Some(index)) {
                (true, _) => (Mark::Held, "yes"),
                (false, true) => (Mark::FirstMissed, "NO "),
                (false, false) => (Mark::Missed, "no "),
            };
            out.push_str(&format!("  {}  {condition}\n", style.paint(mark, word)));
            if let Some(hint) = &condition.hint {
                out.push_str(&format!("       hint: {hint}\n"));
            }
        }
        if self.array_inconsistent {
            let word = style.paint(Mark::FirstMissed, "NO ");
            out.push_str(&format!("  {word}  {ARRAY_INCONSISTENT}\n"));
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(Style::Plain))
    }
}

impl fmt::Display for BranchExplanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = String::new();
        self.lines(Style::Plain, &mut lines);
        out.write_str(&lines)
    }
}

impl fmt::Display for ConditionExplanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.wanted_in_words.iter().take(ALTERNATIVES_SHOWN);
        let shown: Vec<&str> = shown.map(String::as_str).collect();
        write!(out, "{}: wanted {}", self.path, shown.join(" or "))?;
        match self.wanted_in_words.len() - shown.len() {
            0 => {}
            more => write!(out, " or {more} more")?,
        }
        match self.seen_total - self.seen.len() {
            _ if self.seen_total == 0 => write!(out, "; saw nothing")?,
            0 => write!(out, "; saw {}", self.seen.join(", "))?,
            more => write!(out, "; saw {} and {more} more", self.seen.join(", "))?,
        }
        let held = self
            .held_alternative
            .and_then(|held| self.wanted_in_words.get(held));
        match held {
            Some(held) if held == NO_VALUE && self.seen_total > 0 => {
                write!(out, ", but in other elements of the array")
            }
            // With a single alternative there is no need to say which one held.
            Some(held) if self.wanted.len() > 1 && !self.seen.contains(held) => {
                write!(out, "; met by {held}")
            }
            _ => Ok(()),
        }
    }
}
