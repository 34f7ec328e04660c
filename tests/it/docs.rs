//! What README and docs show is there: commands and their flags, manifests, and the files they link to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::commands::run;

fn root() -> PathBuf {
    crate::support::root().to_owned()
}

/// README and every page under `docs/`, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let single = [
        "README.md",
        "rules/README.md",
        "rules/PATTERNS.md",
        "rules/BENCHMARKS.md",
        "rules/fuzz/README.md",
    ];
    let mut found: Vec<PathBuf> = single.iter().map(|page| root().join(page)).collect();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// The fenced blocks of a page, each with its language.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// The commands `edgebus …` that a page lets its readers type, without what is piped to and from them.
fn typed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (language, body) in blocks(text) {
        if !matches!(language.as_str(), "console" | "sh" | "bash") {
            continue;
        }
        let body = body.replace("\\\n", " ");
        for line in body.lines() {
            let line = line.trim_start().trim_start_matches("$ ");
            for part in line.split(" | ") {
                let part = part.split(" #").next().unwrap_or(part);
                let part = part.split(" && ").last().unwrap_or(part);
                if part.trim_start().starts_with("edgebus ") {
                    found.push(part.trim().to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn commands_in_the_docs_are_there() {
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut help = |path: &[String]| {
        helps
            .entry(path.to_vec())
            .or_insert_with(|| {
                let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
                arguments.push("--help");
                run(&arguments, "").succeeds().out
            })
            .clone()
    };
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for command in typed(&text) {
            seen += 1;
            let mut path = Vec::new();
            let mut known = help(&path);
            for word in command.split_whitespace().skip(1) {
                let listed = known.lines().any(|line| {
                    line.strip_prefix("  ").is_some_and(|rest| {
                        !rest.starts_with(' ') && rest.split_whitespace().next() == Some(word)
                    })
                });
                if !listed || !known.contains("\nCommands:\n") {
                    break;
                }
                path.push(word.to_owned());
                known = help(&path);
            }
            if path.is_empty() && !command.starts_with("edgebus --") {
                wrong.push(format!("{}: no such command: {command}", page.display()));
            }
            for word in command.split_whitespace() {
                let flag = word.split('=').next().unwrap_or(word);
                if flag.starts_with("--") && flag.len() > 2 && !known.contains(flag) {
                    wrong.push(format!("{}: no flag {flag}: {command}", page.display()));
                }
            }
        }
    }
    assert!(seen > 5, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_is_in_the_docs() {
    let pages = pages();
    let help = run(&["--help"], "").succeeds().out;
    let missing: Vec<String> = super::help::commands(&help)
        .into_iter()
        .map(|name| format!("edgebus {name}"))
        .filter(|command| !pages.iter().any(|(_, text)| text.contains(command)))
        .collect();
    assert!(missing.is_empty(), "no page shows {missing:?}");
}

#[test]
fn manifests_in_the_docs_are_good() {
    let mut seen = 0;
    for (page, text) in pages() {
        for (language, body) in blocks(&text) {
            if language == "yaml" && body.contains("version: 1\n") {
                seen += 1;
                if let Err(errors) = edgebus_manifest::parse(&body) {
                    let page = page.display().to_string();
                    panic!(
                        "{}",
                        edgebus_manifest::show(
                            &errors,
                            &body,
                            &page,
                            edgebus_manifest::Style::Plain
                        )
                    );
                }
            }
        }
    }
    assert!(seen > 0, "no manifest was found");
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for (index, _) in text.match_indices("](") {
            let rest = &text[index + 2..];
            let target = rest.split(')').next().unwrap_or("");
            let file = target.split('#').next().unwrap_or("");
            if file.is_empty() || file.contains("://") || file.contains(char::is_whitespace) {
                continue;
            }
            if !page.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_adding_things_names_is_there_and_at_most_six_files() {
    let text = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = text.split("\n## Adding things\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let parts: Vec<&str> = section.split("\n### ").skip(1).collect();
    assert!(parts.len() > 4, "{parts:?}");
    let tests: String = ["tests/it", "bus", "rules/src"]
        .map(super::tidy::sources)
        .into_iter()
        .flatten()
        .map(|(_, text)| text)
        .collect();
    let mut wrong = Vec::new();
    for part in parts {
        let title = part.lines().next().unwrap();
        let rows: Vec<&str> = part
            .lines()
            .filter(|line| line.starts_with('|'))
            .skip(2)
            .collect();
        if rows.is_empty() || rows.len() > 6 {
            wrong.push(format!("{title}: {} files", rows.len()));
        }
        for row in rows {
            let cells: Vec<&str> = row.split('|').collect();
            for path in quoted(cells[1]) {
                if !path.contains("NAME") && !root().join(path).exists() {
                    wrong.push(format!("{title}: {path} is not there"));
                }
            }
            for test in quoted(cells[3]) {
                let name = test.rsplit(':').next().unwrap();
                if !tests.contains(&format!("fn {name}()")) {
                    wrong.push(format!("{title}: there is no test {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_kind_of_target_is_described() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (format, document) = (
        read("docs/storage-format.md"),
        read("tests/formats/openapi.json"),
    );
    for kind in edgebus_model::TargetKind::ALL {
        let (number, word) = (kind.number(), kind.word());
        assert!(
            format.contains(&format!("{number} {word}")),
            "docs/storage-format.md does not say which kind {number} is: {word}"
        );
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let described = schemas
            .values()
            .any(|schema| schema["properties"][word].is_object());
        assert!(
            described || !kind.is_built(),
            "no answer of tests/formats/openapi.json has the member `{word}`"
        );
    }
}
