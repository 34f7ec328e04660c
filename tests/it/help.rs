//! Help is part of the interface: every command's, found by walking down from the first one, is a golden
//! file, and shows an example.

use std::collections::BTreeSet;

use super::commands::run;

/// The names under `Commands:` in a help text.
pub(crate) fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A description that goes on is indented further.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))
        })
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn walk(path: &[String], found: &mut Vec<(String, String)>) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = run(&arguments, "").succeeds().out;
    let name = if path.is_empty() {
        "edgebus".to_owned()
    } else {
        path.join("-")
    };
    for command in commands(&help) {
        let mut below = path.to_vec();
        below.push(command);
        walk(&below, found);
    }
    found.push((name, help));
}

/// Rewritten only with EDGEBUS_REWRITE_GOLDEN set.
#[test]
fn help_is_as_it_was_and_shows_an_example() {
    let folder = crate::support::root().join("tests/formats/help");
    let rewrite = std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some();
    let mut found = Vec::new();
    walk(&[], &mut found);
    assert!(found.len() > 10, "the walk found {} commands", found.len());
    let mut wrong = Vec::new();
    for (name, help) in &found {
        let file = folder.join(format!("{name}.txt"));
        if rewrite {
            std::fs::write(&file, help).unwrap();
        }
        if std::fs::read_to_string(&file).unwrap_or_default() != *help {
            wrong.push(format!("{name}.txt differs"));
        }
        if !help.contains("Example") {
            wrong.push(format!("{name}: no example"));
        }
        if help.lines().any(|line| line.chars().count() > 130) {
            wrong.push(format!("{name}: a line is too long to read"));
        }
    }
    let known: BTreeSet<String> = found
        .iter()
        .map(|(name, _)| format!("{name}.txt"))
        .collect();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            wrong.push(format!("{name}: no such command any more"));
        }
    }
    assert!(
        wrong.is_empty(),
        "EDGEBUS_REWRITE_GOLDEN=1 rewrites the files:\n{}",
        wrong.join("\n")
    );
}
