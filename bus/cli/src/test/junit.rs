//! The results of tests in JUnit's XML, as build servers read it.

use std::fmt::Write as _;

use super::Report;
use super::report::diff;

/// The whole document.
pub(super) fn document(report: &Report) -> String {
    let (tests, failed) = (report.results.len(), report.failed());
    let time = seconds(report.micros);
    let suite = escaped(&report.file);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String can't fail.
    let _ = writeln!(
        out,
        "<testsuites tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" time=\"{time}\">\n  <testsuite name=\"{suite}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{time}\">"
    );
    for ran in &report.results {
        let (name, time) = (escaped(&ran.name), seconds(ran.micros));
        let _ = write!(
            out,
            "    <testcase name=\"{name}\" classname=\"{suite}\" time=\"{time}\""
        );
        if ran.failures.is_empty() {
            out.push_str("/>\n");
            continue;
        }
        out.push_str(">\n");
        for failed in &ran.failures {
            let lines = diff(failed);
            let reasons = lines.iter().filter(|(sign, _)| *sign != ' ');
            let reasons: Vec<&str> = reasons.map(|(_, line)| &line[2..]).collect();
            let message = escaped(&reasons.join("; "));
            let whole: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
            let _ = writeln!(
                out,
                "      <failure message=\"{message}\" type=\"match\">{}</failure>",
                escaped(&whole.join("\n"))
            );
        }
        out.push_str("    </testcase>\n");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `text` as XML 1.0 takes it in attributes and between tags; what it does not know becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}
