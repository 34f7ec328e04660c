//! The project that is developed: its manifest, its builds, and what is watched for them.
//!
//! Each check finds nothing new, an error, or a configuration to apply. A build runs again only if the content
//! of a watched file differs from its last run, so that no build triggers the next one. Never here: the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::build;
use super::super::serve::Configuration;
use super::super::validate::Checked;
use super::screen::Screen;
use super::trees::{Digests, Look, digest_of, homes};
use super::watch::Watcher;
use edgebus_manifest::{ComponentSource, EventSource, FunctionDeclaration, Manifest};
use edgebus_model::Name;

/// Folders in which the crate of a component is looked for.
const CRATES_MAX: usize = 1_000;
/// How often a check starts again because new folders to watch appeared during it.
const LOOKS_MAX: usize = 3;

/// If this many runs of a command in a row have changed a file, the command itself writes it.
const RUNS_THAT_WRITE: u32 = 3;

/// A project, and the state of its parts.
pub(super) struct Project {
    manifest: PathBuf,
    /// Where the bus has its secrets.
    secrets: Option<PathBuf>,
    folder: PathBuf,
    builds: bool,
    watcher: Watcher,
    /// Where the last good manifest has its changes.
    folders: BTreeSet<PathBuf>,
    /// The last run of each command.
    runs: BTreeMap<String, Run>,
    /// What commands write themselves of what they watch, as it was after the last run.
    written: BTreeMap<String, Digests>,
    last: Last,
    /// Notes that were printed and are not repeated.
    noted: BTreeSet<String>,
    /// How long the builds of the last look took; `None` if nothing was built.
    pub(super) built_in: Option<Duration>,
    /// What the last good manifest has.
    pub(super) summary: Summary,
}

/// How a command ended.
struct Run {
    /// What it watches, as it was before.
    of: blake3::Hash,
    error: Option<String>,
    /// True if all its components were there afterwards.
    made: bool,
    /// Files that changed while it ran, and in how many runs up to this one.
    changed: BTreeMap<PathBuf, u32>,
}

/// What was found last.
#[derive(PartialEq, Eq)]
enum Last {
    Nothing,
    Good(blake3::Hash),
    Error(String),
}

/// What a look came to.
pub(super) enum Found {
    /// Nothing to do.
    Same,
    /// To be applied.
    New(Box<Configuration>),
    /// The words for the screen.
    Error(String),
}

/// A few words on a manifest.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) functions: usize,
    pub(super) rules: usize,
    /// What is watched, as the manifest has it.
    pub(super) watched: Vec<String>,
    /// The first file with an event that a test names, and the test's bus.
    pub(super) event: Option<(PathBuf, Name)>,
}

/// A command with all functions that it builds.
#[derive(Default)]
struct Job {
    functions: Vec<String>,
    watched: Vec<PathBuf>,
    components: Vec<PathBuf>,
}

impl Project {
    /// The project of this manifest. Nothing is read yet.
    pub(super) fn new(manifest: &Path, secrets: Option<&Path>, builds: bool) -> Self {
        let folder = match manifest.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Self {
            manifest: manifest.to_owned(),
            secrets: secrets.map(Path::to_owned),
            folders: homes(manifest)
                .into_iter()
                .chain([folder.clone()])
                .collect(),
            folder,
            builds,
            watcher: Watcher::new(),
            runs: BTreeMap::new(),
            written: BTreeMap::new(),
            last: Last::Nothing,
            noted: BTreeSet::new(),
            built_in: None,
            summary: Summary::default(),
        }
    }

    /// Resolves when something may have changed.
    pub(super) async fn changed(&self) {
        self.watcher.changed().await;
    }

    /// Looks at everything, and builds what has changed.
    pub(super) async fn look(&mut self, screen: &Screen) -> Found {
        self.built_in = None;
        let (last, found) = match self.prepare(screen).await {
            Err(error) => (Last::Error(error.clone()), Found::Error(error)),
            Ok(configuration) => (
                Last::Good(configuration.digest()),
                Found::New(Box::new(configuration)),
            ),
        };
        if let Some(why) = self.watcher.blind() {
            let note = format!(
                "note: the system does not report every change ({why}), so files are checked once a second"
            );
            self.note_once(screen, note);
        }
        if self.last == last {
            return Found::Same;
        }
        self.last = last;
        found
    }

    async fn prepare(&mut self, screen: &Screen) -> Result<Configuration, String> {
        // While the manifest is invalid, the files of the last good one are still watched.
        self.watcher.set(&self.folders);
        let manifest = Checked::text_alone(&self.manifest).map_err(|failure| failure.message)?;
        self.summary = self.summarise(&manifest);
        let jobs = self.jobs(&manifest, screen);
        let digests = self.listen(&manifest, &jobs, screen);
        if self.builds {
            let mut errors = Vec::new();
            for ((command, job), of) in jobs.iter().zip(digests) {
                errors.extend(self.build(command, job, of, screen).await.err());
            }
            // A build may have made the folders of its components.
            self.listen(&manifest, &jobs, screen);
            if !errors.is_empty() {
                return Err(errors.join("\n"));
            }
        }
        let configuration = Configuration::read(&self.manifest, self.secrets.as_deref()).map_err(|failure| {
            let elsewhere = build::target_dir(&self.folder).map_or_else(String::new, |set| {
                format!("\n  {set}, so cargo may have put it into another folder than the manifest says")
            });
            format!("{}{elsewhere}", failure.message)
        })?;
        for line in &configuration.warnings {
            self.note_once(screen, line.clone());
        }
        Ok(configuration)
    }

    /// The commands, each with what it builds: functions of one command are built once.
    fn jobs(&mut self, manifest: &Manifest, screen: &Screen) -> BTreeMap<String, Job> {
        let mut jobs: BTreeMap<String, Job> = BTreeMap::new();
        for function in &manifest.functions {
            let (Some(build), Some(component)) = (&function.build, self.component(function)) else {
                continue;
            };
            let mut watched: Vec<PathBuf> = build
                .watch
                .iter()
                .map(|path| self.folder.join(path))
                .collect();
            if watched.is_empty() {
                watched.extend(crate_of(&component, &self.folder));
            }
            for path in watched.iter().filter(|path| !path.exists()) {
                let note = format!(
                    "note: {} does not exist, but `build.watch` of function `{}` names it",
                    path.display(),
                    function.name
                );
                self.note_once(screen, note);
            }
            let job = jobs.entry(build.command.clone()).or_default();
            job.functions.push(function.name.to_string());
            job.watched.extend(watched);
            job.components.push(component);
        }
        jobs
    }

    fn component(&self, function: &FunctionDeclaration) -> Option<PathBuf> {
        match &function.component {
            Some(ComponentSource::Path(path)) => Some(self.folder.join(path)),
            _ => None,
        }
    }

    /// Watches the folders in which these can change, and returns the digest of what each job watches.
    fn listen(
        &mut self,
        manifest: &Manifest,
        jobs: &BTreeMap<String, Job>,
        screen: &Screen,
    ) -> Vec<Digests> {
        let mut digests = Vec::new();
        for _ in 0..LOOKS_MAX {
            let looks: Vec<Look> = jobs.values().map(|job| Look::at(&job.watched)).collect();
            let mut folders = BTreeSet::from([self.folder.clone()]);
            folders.extend(homes(&self.manifest));
            folders.extend(looks.iter().flat_map(|look| look.folders.iter().cloned()));
            for component in manifest
                .functions
                .iter()
                .filter_map(|own| self.component(own))
            {
                folders.extend(homes(&component));
            }
            if looks.iter().any(|look| look.cut) {
                let note = "note: `build.watch` names too many files, so some changes are not seen: name the folders of the sources alone";
                self.note_once(screen, note.to_owned());
            }
            digests = looks.iter().map(Look::digests).collect();
            self.folders = folders;
            // Changes from before a folder was watched show at the next check.
            if !self.watcher.set(&self.folders) {
                break;
            }
        }
        digests
    }

    /// Runs a command if what it watches has changed since its last run.
    async fn build(
        &mut self,
        command: &str,
        job: &Job,
        before: Digests,
        screen: &Screen,
    ) -> Result<(), String> {
        let of = digest_of(&before, &self.written_by(command, &before));
        let all_there = || job.components.iter().all(|component| component.is_file());
        match self.runs.get(command).filter(|run| run.of == of) {
            Some(Run {
                error: Some(error), ..
            }) => return Err(error.clone()),
            // Without this, a command that never makes its component would run for ever.
            Some(run) if !run.made || all_there() => return Ok(()),
            _ => {}
        }
        let began = Instant::now();
        let functions = job.functions.join(", ");
        let progress = screen.work();
        let ran = build::build_with(command, &functions, &self.folder, &progress).await;
        screen.rest();
        self.built_in = Some(self.built_in.unwrap_or_default() + began.elapsed());
        let error = match ran {
            Err(words) => Some(format!("{functions} can't be built: {words}")),
            Ok(words) => {
                // Warnings, mostly.
                if !words.trim().is_empty() {
                    screen.note(words.trim_end());
                }
                None
            }
        };
        let made = all_there();
        let after = Look::at(&job.watched).digests();
        let changed = self.changed_files(command, &before, &after);
        self.note_written(command, &changed, &after, screen);
        let run = Run {
            of: digest_of(&before, &self.written_by(command, &after)),
            error: error.clone(),
            made,
            changed,
        };
        self.runs.insert(command.to_owned(), run);
        error.map_or(Ok(()), Err)
    }

    /// The files that the command writes itself. A file that has changed since its last run was also written
    /// by somebody else.
    fn written_by(&mut self, command: &str, now: &Digests) -> BTreeSet<PathBuf> {
        let Some(written) = self.written.get_mut(command) else {
            return BTreeSet::new();
        };
        written.retain(|file, digest| now.get(file).is_none_or(|now| now == digest));
        written.keys().cloned().collect()
    }

    /// What changed while the command ran, and in how many runs in a row it did.
    fn changed_files(
        &self,
        command: &str,
        before: &Digests,
        after: &Digests,
    ) -> BTreeMap<PathBuf, u32> {
        let last = self.runs.get(command).map(|run| &run.changed);
        let files = before.keys().chain(after.keys());
        let changed = files.filter(|file| before.get(*file) != after.get(*file));
        let count = |file: &PathBuf| {
            last.and_then(|last| last.get(file))
                .map_or(1, |runs| runs + 1)
        };
        changed.map(|file| (file.clone(), count(file))).collect()
    }

    /// Remembers what the command writes itself, so that no build triggers the next one, and prints a note.
    fn note_written(
        &mut self,
        command: &str,
        changed: &BTreeMap<PathBuf, u32>,
        after: &Digests,
        screen: &Screen,
    ) {
        let mut own = self.written.remove(command).unwrap_or_default();
        for (file, digest) in &mut own {
            if let Some(now) = after.get(file) {
                *digest = *now;
            }
        }
        for (file, _) in changed.iter().filter(|(_, runs)| **runs >= RUNS_THAT_WRITE) {
            let Some(digest) = after.get(file) else {
                continue;
            };
            own.insert(file.clone(), *digest);
            let note = format!(
                "note: `{command}` writes {} itself, which `build.watch` names; these writes start no build",
                file.display()
            );
            self.note_once(screen, note);
        }
        self.written.insert(command.to_owned(), own);
    }

    fn summarise(&self, manifest: &Manifest) -> Summary {
        let builds = manifest
            .functions
            .iter()
            .filter_map(|own| own.build.as_ref());
        let watched: BTreeSet<String> = builds.flat_map(|build| build.watch.clone()).collect();
        let event = manifest.tests.iter().find_map(|test| {
            let mut events = test.events.iter();
            events.find_map(|event| match event {
                EventSource::Path(path) => Some((self.folder.join(path), test.bus.clone())),
                EventSource::Inline(_) => None,
            })
        });
        Summary {
            functions: manifest.functions.len(),
            rules: manifest.rules.len(),
            watched: watched.into_iter().collect(),
            event,
        }
    }

    fn note_once(&mut self, screen: &Screen, note: String) {
        if !self.noted.contains(&note) {
            screen.note(&note);
            self.noted.insert(note);
        }
    }
}

/// The folder of the crate that makes `component`: the one whose `Cargo.toml` has the file's name, in
/// the project's folder or at most two below it.
fn crate_of(component: &Path, project: &Path) -> Option<PathBuf> {
    let stem = component.file_stem()?.to_string_lossy().replace('-', "_");
    let mut folders = vec![project.to_owned()];
    let mut level = 0..folders.len();
    for _ in 0..2 {
        for index in level.clone() {
            let entries = std::fs::read_dir(&folders[index]).into_iter().flatten();
            let below = entries.flatten().map(|entry| entry.path());
            let below = below.filter(|path| path.join("Cargo.toml").is_file() || path.is_dir());
            folders.extend(below.take(CRATES_MAX.saturating_sub(folders.len())));
        }
        level = level.end..folders.len();
    }
    folders.into_iter().find(|folder| {
        let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        let name = text.lines().find_map(|line| line.strip_prefix("name = "));
        name.is_some_and(|name| name.trim().trim_matches('"').replace('-', "_") == stem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "version: 1
functions:
  a: { component: a.wasm, build: { command: 'cat src/a >> log && cp src/a a.wasm && cp src/a b.wasm', watch: [src] } }
  b: { component: b.wasm, build: { command: 'cat src/a >> log && cp src/a a.wasm && cp src/a b.wasm', watch: [src] } }
rules:
  r: { match: { type: [t] }, to: [{ function: a }, { function: b }] }
";

    /// The smallest file that `serve` takes for a component before the bus checks it.
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";

    struct Home {
        folder: tempfile::TempDir,
        project: Project,
    }

    impl Home {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("src")).unwrap();
            let project = Project::new(&folder.path().join("edgebus.yaml"), None, true);
            Self { folder, project }
        }

        fn write(&self, path: &str, text: impl AsRef<[u8]>) {
            std::fs::write(self.folder.path().join(path), text).unwrap();
        }

        fn source(&self, text: &str) {
            self.write("src/a", [HEAD, text.as_bytes()].concat());
        }

        /// What a look finds, and how often the command has run.
        async fn check(&mut self, expected: &str, runs: usize) {
            let found = match self.project.look(&Screen::default()).await {
                Found::Same => "same".to_owned(),
                Found::New(configuration) => {
                    format!("new {}", configuration.components.len())
                }
                Found::Error(words) => format!("error {words}"),
            };
            assert!(found.contains(expected), "{found} is not {expected}");
            let log = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
            let ran = log.windows(HEAD.len()).filter(|own| *own == HEAD).count();
            assert_eq!(ran, runs, "the command ran so often");
        }
    }

    #[tokio::test]
    async fn a_command_runs_once_for_each_change_of_what_it_watches() {
        let mut home = Home::new();
        home.write("edgebus.yaml", MANIFEST);
        home.source("1");
        home.check("new 2", 1).await;
        home.check("same", 1).await;
        home.source("1");
        home.check("same", 1).await;
        home.source("2");
        home.check("new 2", 2).await;
        home.write("edgebus.yaml", format!("{MANIFEST}# a word\n"));
        home.check("new 2", 2).await;
        // What is built by hand is taken as well.
        home.write("a.wasm", [HEAD, b"3"].concat());
        home.check("new 2", 2).await;
        std::fs::remove_file(home.folder.path().join("a.wasm")).unwrap();
        home.check("new 2", 3).await;
    }

    #[tokio::test]
    async fn what_a_build_writes_itself_asks_for_no_build() {
        let mut home = Home::new();
        let counts =
            "cat src/a >> log && cat log > src/stamp && cp src/a a.wasm && cp src/a b.wasm";
        let manifest = MANIFEST.replace(
            "cat src/a >> log && cp src/a a.wasm && cp src/a b.wasm",
            counts,
        );
        home.write("edgebus.yaml", manifest);
        home.source("1");
        home.check("new 2", 1).await;
        // It could be somebody else's change, and is built.
        home.check("same", 2).await;
        home.check("same", 3).await;
        home.check("same", 3).await;
        home.source("2");
        home.check("new 2", 4).await;
        home.check("same", 4).await;
        // Somebody else writes there as well.
        home.write("src/stamp", "mine");
        home.check("same", 5).await;
        home.check("same", 5).await;
    }

    #[tokio::test]
    async fn a_linked_manifest_is_listened_to_where_it_is() {
        let mut home = Home::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let real = elsewhere.path().join("edgebus.yaml");
        std::fs::write(&real, MANIFEST).unwrap();
        std::os::unix::fs::symlink(&real, home.folder.path().join("edgebus.yaml")).unwrap();
        home.source("1");
        home.check("new 2", 1).await;
        let listened = home.project.folders.iter();
        let mut listened = listened.filter_map(|folder| folder.canonicalize().ok());
        let wanted = elsewhere.path().canonicalize().unwrap();
        assert!(listened.any(|folder| folder == wanted));
    }

    #[tokio::test]
    async fn an_error_is_told_once_and_then_fixed() {
        let mut home = Home::new();
        home.check("edgebus.yaml can't be read", 0).await;
        home.write("edgebus.yaml", "version: 1\nrulez: {}\n");
        home.check("edgebus.yaml:2:1", 0).await;
        home.check("same", 0).await;
        home.write("edgebus.yaml", MANIFEST);
        home.check("error a, b can't be built: ", 0).await;
        home.check("same", 0).await;
        home.source("1");
        home.check("new 2", 1).await;
        home.write("edgebus.yaml", "version: 1\nrulez: {}\n");
        home.check("help: ", 1).await;
        home.write("edgebus.yaml", MANIFEST);
        home.check("new 2", 1).await;
        // It goes out well and makes no component.
        home.write(
            "edgebus.yaml",
            MANIFEST.replace("a.wasm, build", "c.wasm, build"),
        );
        home.check("c.wasm", 2).await;
        home.check("same", 2).await;
    }

    #[test]
    fn the_crate_of_a_component_is_found_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("functions/order-totals");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(
            folder.join("Cargo.toml"),
            "[package]\nname = \"order-totals\"\n",
        )
        .unwrap();
        let find = |component: &str| crate_of(Path::new(component), home.path());
        assert_eq!(find("target/x/order_totals.wasm"), Some(folder));
        assert_eq!(find("target/x/other.wasm"), None);
    }
}
