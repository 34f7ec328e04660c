//! What a project starts with: the files of each template, embedded in the binary.
//!
//! The files are real ones, in `templates/`; where one would mean something to cargo or git in this
//! repository its name ends in `.in` there.

/// The placeholder for the project's name in a template.
const NAME: &str = "{{project}}";

/// The templates.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Template {
    /// One function that greets the person that an event names.
    Rust,
    /// Two functions in a chain: alarms from sensor readings, and maintenance after too many alarms.
    Sensors,
}

/// Path in the project, and text.
type File = (&'static str, &'static str);

const SHARED: &[File] = &[
    ("Cargo.toml", include_str!("templates/Cargo.toml.in")),
    (".gitignore", include_str!("templates/gitignore.in")),
];

const RUST: &[File] = &[
    ("edgebus.yaml", include_str!("templates/rust/edgebus.yaml")),
    ("README.md", include_str!("templates/rust/README.md")),
    (
        "functions/hello/Cargo.toml",
        include_str!("templates/rust/functions/hello/Cargo.toml.in"),
    ),
    (
        "functions/hello/src/lib.rs",
        include_str!("templates/rust/functions/hello/src/lib.rs"),
    ),
    (
        "events/hello.json",
        include_str!("templates/rust/events/hello.json"),
    ),
];

const SENSORS: &[File] = &[
    (
        "edgebus.yaml",
        include_str!("templates/sensors/edgebus.yaml"),
    ),
    ("README.md", include_str!("templates/sensors/README.md")),
    (
        "functions/alarm/Cargo.toml",
        include_str!("templates/sensors/functions/alarm/Cargo.toml.in"),
    ),
    (
        "functions/alarm/src/lib.rs",
        include_str!("templates/sensors/functions/alarm/src/lib.rs"),
    ),
    (
        "functions/escalate/Cargo.toml",
        include_str!("templates/sensors/functions/escalate/Cargo.toml.in"),
    ),
    (
        "functions/escalate/src/lib.rs",
        include_str!("templates/sensors/functions/escalate/src/lib.rs"),
    ),
    (
        "events/day.json",
        include_str!("templates/sensors/events/day.json"),
    ),
    (
        "events/hot.json",
        include_str!("templates/sensors/events/hot.json"),
    ),
    (
        "events/broken.json",
        include_str!("templates/sensors/events/broken.json"),
    ),
];

impl Template {
    /// The project's files: paths in its folder, and texts.
    pub(super) fn files(self, project: &str) -> Vec<(String, String)> {
        let own = match self {
            Self::Rust => RUST,
            Self::Sensors => SENSORS,
        };
        SHARED
            .iter()
            .chain(own)
            .map(|(path, text)| ((*path).to_owned(), text.replace(NAME, project)))
            .collect()
    }

    /// The files to look at first, and what they are.
    pub(super) fn tour(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Rust => &[
                (
                    "edgebus.yaml",
                    "the manifest: which events go to which functions",
                ),
                (
                    "functions/hello/src/lib.rs",
                    "a function, with its unit test",
                ),
                ("events/hello.json", "an event to publish"),
                ("README.md", "the most common commands"),
            ],
            Self::Sensors => &[
                (
                    "edgebus.yaml",
                    "the manifest: which events go to which functions",
                ),
                (
                    "functions/alarm/src/lib.rs",
                    "a function that raises alarms",
                ),
                (
                    "functions/escalate/src/lib.rs",
                    "a function that counts them",
                ),
                ("events/day.json", "a day of readings to publish"),
                ("README.md", "the most common commands"),
            ],
        }
    }

    /// The file of events to publish first.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::Rust => "events/hello.json",
            Self::Sensors => "events/day.json",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum as _;

    use super::*;
    use edgebus_manifest as manifest;

    #[test]
    fn every_file_of_the_folder_is_embedded_once() {
        let mut on_disk = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/init/templates");
        super::super::tests::list(&root, &root, &mut on_disk);
        assert_eq!(on_disk.len(), SHARED.len() + RUST.len() + SENSORS.len());
    }

    #[test]
    fn manifests_are_good_and_name_what_is_there() {
        for template in Template::value_variants() {
            let files = template.files("shop");
            let text = |path: &str| {
                let found = files.iter().find(|(own, _)| own == path);
                &found.unwrap_or_else(|| panic!("no {path}")).1
            };
            let manifest = text("edgebus.yaml");
            assert!(
                manifest.starts_with(
                    "# yaml-language-server: $schema=./.edgebus/edgebus.schema.json\n"
                )
            );
            let parsed = manifest::parse(manifest).map_err(|errors| {
                manifest::show(&errors, manifest, "edgebus.yaml", manifest::Style::Plain)
            });
            let parsed = parsed.unwrap_or_else(|errors| panic!("{errors}"));
            assert!(!parsed.tests.is_empty());
            for event in parsed.tests.into_iter().flat_map(|test| test.events) {
                if let manifest::EventSource::Path(path) = event {
                    text(&path);
                }
            }
            for (path, _) in template.tour() {
                text(path);
            }
            text(template.event());
            assert!(files.iter().all(|(_, text)| !text.contains("{{")));
        }
    }
}
