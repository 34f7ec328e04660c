//! Redacts secrets: replaces each secret's value in a function's output and messages by the secret's name,
//! before they are stored or shown.
//!
//! This protects against mistakes, not against a malicious function: values that are encoded, split, or shorter
//! than [`VALUE_BYTES_MIN`] are not found. Emitted events and state are data and are not changed. Never here:
//! where the values come from.

use std::collections::BTreeMap;

use edgebus_model::Outcome;
use edgebus_runtime::capabilities::secrets::{VALUE_BYTES_MIN, values};

/// What the runtime puts where it cut the output; a value may have been cut with it.
const CUT_MARK: char = '…';

/// Takes the values of `secrets` out of what an invocation brought.
pub(super) fn redact(
    secrets: &BTreeMap<String, String>,
    output: &mut String,
    outcome: &mut Outcome,
) {
    if secrets.is_empty() {
        return;
    }
    let values = values(secrets);
    *output = cleaned(&values, std::mem::take(output));
    if let Some(message) = outcome.message_mut() {
        *message = cleaned(&values, std::mem::take(message));
    }
}

fn cleaned(values: &[(&str, &str)], text: String) -> String {
    let mut out = String::new();
    let mut done = 0;
    // Where each value comes next: looked for anew only behind it.
    let mut next: Vec<Option<usize>> = values.iter().map(|(value, _)| text.find(value)).collect();
    loop {
        for (at, (value, _)) in next.iter_mut().zip(values) {
            if at.is_some_and(|at| at < done) {
                *at = text[done..].find(value).map(|found| done + found);
            }
        }
        // The first of all, and of those at one place the longest.
        let first = next
            .iter()
            .zip(values)
            .filter_map(|(at, value)| Some(((*at)?, value)))
            .min_by_key(|(at, _)| *at);
        let Some((at, (value, name))) = first else {
            break;
        };
        push_piece(&mut out, values, &text[done..at], false);
        push_name(&mut out, name);
        done = at + value.len();
    }
    push_piece(&mut out, values, &text[done..], true);
    out
}

/// Appends text that holds no whole value: only where it was cut may it hold a part of one.
fn push_piece(out: &mut String, values: &[(&str, &str)], text: &str, is_last: bool) {
    let mut is_cut_before = false;
    for piece in text.split_inclusive(CUT_MARK) {
        let marked = piece.ends_with(CUT_MARK);
        let body = piece.strip_suffix(CUT_MARK).unwrap_or(piece);
        let body = if is_cut_before {
            push_after_cut(out, values, body)
        } else {
            body
        };
        if marked || is_last {
            push_before_cut(out, values, body);
        } else {
            out.push_str(body);
        }
        if marked {
            out.push(CUT_MARK);
        }
        is_cut_before = marked;
    }
}

/// Appends `body`, whose end may be the beginning of a value.
fn push_before_cut(out: &mut String, values: &[(&str, &str)], body: &str) {
    let text = body.trim_end_matches('\n');
    let part = values.iter().find_map(|(value, name)| {
        let at = text.len().saturating_sub(value.len() - 1);
        let at = text.ceil_char_boundary(at);
        let mut starts = text[at..].char_indices().map(|(start, _)| at + start);
        let start = starts.find(|start| value.starts_with(&text[*start..]))?;
        (text.len() - start >= VALUE_BYTES_MIN).then_some((start, *name))
    });
    match part {
        None => out.push_str(body),
        Some((start, name)) => {
            out.push_str(&text[..start]);
            push_name(out, name);
            out.push_str(&body[text.len()..]);
        }
    }
}

/// Appends what of the first lines behind a cut may be the end of a value; gives the rest.
fn push_after_cut<'a>(out: &mut String, values: &[(&str, &str)], body: &'a str) -> &'a str {
    // The mark's own words end with their line.
    let own_end = body.find('\n').map_or(body.len(), |at| at + 1);
    let (own, text) = body.split_at(own_end);
    out.push_str(own);
    for (value, name) in values {
        let ends = value
            .char_indices()
            .skip(1)
            .map(|(start, _)| &value[start..]);
        let part = ends
            .take_while(|end| end.len() >= VALUE_BYTES_MIN)
            .find(|end| text.starts_with(*end));
        if let Some(part) = part {
            push_name(out, name);
            return &text[part.len()..];
        }
    }
    text
}

fn push_name(out: &mut String, name: &str) {
    out.push_str("[secret ");
    out.push_str(name);
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nx\n-----END KEY-----\n";

    fn check(text: &str, expected: &str) {
        let secrets: BTreeMap<String, String> = [
            ("TOKEN", "s3cr3t-t0ken"),
            ("PREFIX", "hunter"),
            ("LONG", "hunter-2222"),
            ("PIN", "123"),
            ("EMPTY", ""),
            ("UMLAUT", "geheimnisträger"),
            ("KEY", KEY),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let mut output = text.to_owned();
        let mut outcome = Outcome::Reject {
            message: text.to_owned(),
        };
        redact(&secrets, &mut output, &mut outcome);
        assert_eq!(output, expected, "{text}");
        assert_eq!(outcome.to_string(), expected, "{text}");
    }

    #[test]
    fn values_of_secrets_are_replaced_by_their_names() {
        check("", "");
        check("nothing here 123", "nothing here 123");
        check("token=s3cr3t-t0ken.", "token=[secret TOKEN].");
        check(
            "hunterhunter-2222hunter s3cr3t-t0ke",
            "[secret PREFIX][secret LONG][secret PREFIX] [secret TOKEN]",
        );
        check(
            "info: MIIEvQIBADANBgkqhkiG9w0B\ninfo: x\n",
            "info: [secret KEY]\ninfo: x\n",
        );
        check(&format!("key {KEY}"), "key [secret KEY]\n");
    }

    #[test]
    fn a_value_that_was_cut_is_replaced_as_well() {
        check("a s3cr", "a [secret TOKEN]");
        check("a s3c", "a s3c");
        check("a s3cr3t-t0\n… truncated", "a [secret TOKEN]\n… truncated");
        check("a geheimnistr…", "a [secret UMLAUT]…");
        check(
            "head s3cr3t-\n… 1,200 bytes left out …\n3t-t0ken tail",
            "head [secret TOKEN]\n… 1,200 bytes left out …\n[secret TOKEN] tail",
        );
    }

    #[test]
    fn a_text_full_of_values_takes_no_long_time() {
        let secrets: BTreeMap<String, String> = (0..64)
            .map(|number| (format!("S{number}"), format!("{number:04}aaaa")))
            .chain([("A".to_owned(), "aaaa".to_owned())])
            .collect();
        let mut output = "aaaa".repeat(16 << 10);
        redact(&secrets, &mut output, &mut Outcome::Success);
        assert_eq!(output.len(), "[secret A]".len() * (16 << 10));
    }
}
