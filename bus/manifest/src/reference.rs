//! Generates the tables of docs/manifest.md from the shape. A test compares or rewrites them.
//!
//! Between `<!-- keys of PLACE -->` and `<!-- end -->` stands what is made here; all else in that page
//! is written by hand.

use super::schema::range;
use super::shape::{self, Absent, Bounds, Form, Key, Shape};

/// `page` with each of its tables as the shape has them.
///
/// Panics if a shape has no place in the page, or a place no shape: it is made for a test.
pub(super) fn rewritten(page: &str) -> String {
    let mut all = Vec::new();
    collect(&shape::ROOT, &mut all);
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("<!-- keys of ") {
        let (place, after) = after.split_once(" -->").expect("the mark has an end");
        let (_, after) = after
            .split_once("<!-- end -->")
            .expect("the table has an end");
        let index = all.iter().position(|shape| named(shape) == place);
        let shape = all.swap_remove(index.expect(place));
        out.push_str(before);
        out.push_str(&format!(
            "<!-- keys of {place} -->\n{}<!-- end -->",
            table(shape)
        ));
        rest = after;
    }
    let left: Vec<&str> = all.into_iter().map(named).collect();
    assert!(
        left.is_empty(),
        "the page has no `<!-- keys of … -->` for {left:?}"
    );
    out + rest
}

/// Every shape, each before the ones below it.
pub(super) fn collect(shape: &'static Shape, all: &mut Vec<&'static Shape>) {
    all.push(shape);
    for key in shape.keys {
        if let Form::Map(below) | Form::Named(below) | Form::List(Form::Map(below), _) = &key.form {
            collect(below, all);
        }
    }
}

fn named(shape: &'static Shape) -> &'static str {
    if shape.place.is_empty() {
        "the manifest"
    } else {
        shape.place
    }
}

fn table(shape: &Shape) -> String {
    let mut out =
        String::from("\n| key | type | default | bounds | example |\n|---|---|---|---|---|\n");
    for key in shape.keys {
        let default = match key.absent {
            Absent::Error => "**required**".to_owned(),
            Absent::Is(value) => code(value),
            Absent::Means(words) => words.to_owned(),
        };
        out.push_str(&format!(
            "| `{}` | {} | {default} | {} | {} |\n",
            key.name,
            kind(&key.form),
            range(&key.form)
                .or_else(|| longest(&key.form))
                .unwrap_or_default(),
            code(key.example),
        ));
    }
    out.push('\n');
    for Key { name, about, .. } in shape.keys {
        out.push_str(&format!("- `{name}`: {about}\n"));
    }
    if !shape.later.is_empty() {
        out.push_str("\nWords that are kept for later and refused now:\n\n");
        for (word, remedy) in shape.later {
            out.push_str(&format!("- `{word}`: {remedy}.\n"));
        }
    }
    out.push('\n');
    out
}

/// A code span that stands in a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// The type and the unit of a value.
fn kind(form: &Form) -> String {
    match form {
        Form::Version => "the number 1".to_owned(),
        Form::Text(_) => "text".to_owned(),
        Form::Name(of) => format!("name of a {of}"),
        Form::SubscriptionName(_) => "name, or two joined with `/`".to_owned(),
        Form::Flag(_) => "true or false".to_owned(),
        Form::Choice(_, words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            quoted.join(" or ")
        }
        Form::Whole(_) => "whole number".to_owned(),
        Form::Number(_) => "number".to_owned(),
        Form::Duration(bounds) => or_word("duration: `ms`, `s`, `m`, `h`, `d`", bounds),
        Form::Size(bounds) => or_word("size: `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, …", bounds),
        Form::Component(_) => "path or digest".to_owned(),
        Form::Secret(_) => "name of a secret".to_owned(),
        Form::Origin(_) => "origin".to_owned(),
        Form::Pattern => "pattern".to_owned(),
        Form::Query(_) => "JSONPath query".to_owned(),
        Form::Event(_) => "event or path".to_owned(),
        Form::Json => "any value".to_owned(),
        Form::Values => "mapping of any values".to_owned(),
        Form::Map(_) => "mapping, below".to_owned(),
        Form::Named(_) => "mapping of names, below".to_owned(),
        Form::Texts(_) => "mapping of texts".to_owned(),
        Form::List(Form::Map(_), _) => "list of mappings, below".to_owned(),
        Form::List(of, _) => format!("list: {}", kind(of)),
        Form::OneOrMany(of, _) => format!("{}, or a list", kind(of)),
    }
}

/// With the word for no limit, if there is one.
fn or_word(kind: &str, bounds: &Bounds) -> String {
    match bounds.unlimited {
        None => kind.to_owned(),
        Some(word) => format!("{kind}; or `{word}`"),
    }
}

/// How long a text may be.
fn longest(form: &Form) -> Option<String> {
    match form {
        Form::Text(words)
        | Form::Component(words)
        | Form::Secret(words)
        | Form::Origin(words)
        | Form::Query(words)
        | Form::Event(words)
        | Form::SubscriptionName(words)
        | Form::Texts(words) => Some(format!("{} bytes", words.bytes_max)),
        Form::Name(_) => Some("64 characters".to_owned()),
        Form::List(of, _) | Form::OneOrMany(of, _) => {
            longest(of).map(|text| format!("{text} each"))
        }
        _ => None,
    }
}
