//! What applying a manifest would change, and what each change does to deliveries that are pending.
//!
//! A pure comparison; the caller passes the counts. Never here: versions and numbers of the store, and reading
//! of components.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use edgebus_model::rule::{DEFAULT_BUS, SYSTEM_BUS};
use edgebus_model::{BusConfig, Name, RuleConfig, StartPosition, SubscriptionName, TargetConfig};

use super::Manifest;
use super::functions::{ComponentSource, FunctionDeclaration};
use super::scalar::{duration_text, retention_text};

/// What happens to a thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is there and becomes different.
    Changed,
    /// It is no longer in the manifest.
    Removed,
}

/// What a change is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A bus.
    Bus,
    /// A function.
    Function,
    /// A rule.
    Rule,
    /// A rule with one of its targets.
    Subscription,
}

/// One change of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// To what.
    pub what: Subject,
    /// Its name.
    pub name: String,
    /// What of it differs; empty for what is added or removed.
    pub aspects: Vec<&'static str>,
    /// What that does to deliveries in flight, in words.
    pub effect: String,
}

/// Whose deliveries are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingOf<'n> {
    /// Those of a function.
    Function(&'n Name),
    /// Those of a rule.
    Rule(&'n Name),
    /// Those of a subscription.
    Subscription(&'n SubscriptionName),
    /// No deliveries: events of a bus that are past these limits of it.
    Events(&'n BusConfig),
    /// No deliveries: dead letters of a subscription that died longer ago than this, in milliseconds.
    Letters(&'n SubscriptionName, u64),
}

/// How many deliveries are pending, or events or dead letters are past a limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PendingCount {
    /// So many were counted.
    pub count: usize,
    /// There may be more.
    pub more: bool,
    /// It is an estimate.
    pub about: bool,
}

/// Counts pending deliveries, and what a shorter retention removes. `None` if they can't be counted.
pub type Counting<'c> = &'c mut dyn FnMut(PendingOf<'_>) -> Option<PendingCount>;

impl ChangeKind {
    /// The sign that a plan shows.
    #[must_use]
    pub fn sign(self) -> char {
        match self {
            Self::Added => '+',
            Self::Changed => '~',
            Self::Removed => '-',
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "add",
            Self::Changed => "change",
            Self::Removed => "remove",
        }
    }
}

impl Subject {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Function => "function",
            Self::Rule => "rule",
            Self::Subscription => "subscription",
        }
    }
}

impl Change {
    /// The change without what it does, as in `~ function triage (limits)`.
    #[must_use]
    pub fn headline(&self) -> String {
        let mut line = format!("{} {} {}", self.kind.sign(), self.what.word(), self.name);
        if !self.aspects.is_empty() {
            line.push_str(&format!(" ({})", self.aspects.join(", ")));
        }
        line
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.headline(), self.effect)
    }
}

/// The changes from `old` to `new`: buses, functions, rules and, under a changed rule, its
/// subscriptions. Empty if nothing would change. `replaced` are functions of both whose component has
/// other bytes than the deployed one: only who reads the files knows them.
#[must_use]
pub fn plan(
    old: &Manifest,
    new: &Manifest,
    replaced: &BTreeSet<Name>,
    pending: Counting<'_>,
) -> Vec<Change> {
    let mut plan = Plan {
        changes: Vec::new(),
        pending,
        before: subscriptions(old),
        after: subscriptions(new),
        starts: (&old.starts, &new.starts),
    };
    plan.buses(old, new);
    plan.functions(old, new, replaced);
    plan.rules(old, new);
    plan.changes
}

/// The items of both sides by name.
fn paired<'m, T, N: Ord>(
    old: &'m [T],
    new: &'m [T],
    name: impl Fn(&T) -> &N,
) -> BTreeMap<&'m N, (Option<&'m T>, Option<&'m T>)> {
    let mut pairs: BTreeMap<&N, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for item in old {
        pairs.entry(name(item)).or_default().0 = Some(item);
    }
    for item in new {
        pairs.entry(name(item)).or_default().1 = Some(item);
    }
    pairs
}

/// What a bus that is added does.
fn new_bus(bus: Option<&BusConfig>) -> String {
    let kept = bus.map_or_else(String::new, |bus| {
        format!("; keeps {}", retention_text(bus))
    });
    if bus.is_some_and(|bus| bus.name.as_str() == SYSTEM_BUS) {
        return format!("gets the bus's own events from now on{kept}");
    }
    format!("can be published on; nothing is pending yet{kept}")
}

/// True if events may go that were kept so far.
fn keeps_less(before: &BusConfig, after: &BusConfig) -> bool {
    after.retention_age_ms < before.retention_age_ms
        || after.retention_bytes < before.retention_bytes
}

/// The words of what differs.
fn changed<const N: usize>(aspects: [(&'static str, bool); N]) -> Vec<&'static str> {
    let differing = aspects.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(word, _)| word).collect()
}

/// Subscriptions by bus and name, each with the rule that it belongs to: a name stays what it is when it
/// comes to another rule of its bus.
type Subscriptions<'m> = HashMap<(&'m Name, &'m SubscriptionName), (&'m Name, &'m TargetConfig)>;

fn subscriptions(manifest: &Manifest) -> Subscriptions<'_> {
    let mut all = HashMap::with_capacity(manifest.rules.len());
    for rule in &manifest.rules {
        for target in &rule.targets {
            all.insert((&rule.bus, &target.name), (&rule.name, target));
        }
    }
    all
}

struct Plan<'m, 'c> {
    changes: Vec<Change>,
    pending: Counting<'c>,
    before: Subscriptions<'m>,
    after: Subscriptions<'m>,
    /// Where new subscriptions of rules begin.
    starts: (
        &'m BTreeMap<Name, StartPosition>,
        &'m BTreeMap<Name, StartPosition>,
    ),
}

impl<'m> Plan<'m, '_> {
    fn push(
        &mut self,
        kind: ChangeKind,
        what: Subject,
        name: impl ToString,
        effect: impl Into<String>,
    ) {
        self.changes.push(Change {
            kind,
            what,
            name: name.to_string(),
            aspects: Vec::new(),
            effect: effect.into(),
        });
    }

    fn push_changed(
        &mut self,
        what: Subject,
        name: impl ToString,
        aspects: Vec<&'static str>,
        effect: impl Into<String>,
    ) {
        self.push(ChangeKind::Changed, what, name, effect);
        if let Some(change) = self.changes.last_mut() {
            change.aspects = aspects;
        }
    }

    /// `12 pending deliveries will …`, or that nothing is pending.
    fn pending_effect(&mut self, whose: PendingOf<'_>, will: &str) -> String {
        let many = match (self.pending)(whose) {
            None => "pending deliveries".to_owned(),
            Some(PendingCount { count: 0, .. }) => return "nothing is pending".to_owned(),
            Some(count) => counted(count, "pending delivery", "pending deliveries"),
        };
        format!("{many} will {will}")
    }

    /// `12 events that … are removed for good`, or that there are none.
    fn removal_effect(
        &mut self,
        whose: PendingOf<'_>,
        (one, many): (&str, &str),
        that: &str,
    ) -> String {
        match (self.pending)(whose) {
            None => format!("{many} {that} are removed for good"),
            Some(PendingCount { count: 0, .. }) => format!("no {one} {that} is there now"),
            Some(found) => {
                let verb = match found {
                    PendingCount {
                        count: 1,
                        more: false,
                        ..
                    } => "is",
                    _ => "are",
                };
                let found = counted(found, one, many);
                format!("{found} {that} {verb} removed for good")
            }
        }
    }

    fn buses(&mut self, old: &Manifest, new: &Manifest) {
        let usual = Name::new(DEFAULT_BUS).ok().map(BusConfig::with_defaults);
        for (name, (before, after)) in paired(&old.buses, &new.buses, |bus| &bus.name) {
            // The default bus is there on both sides, declared or not.
            let usual = usual.as_ref().filter(|usual| usual.name == *name);
            match (before.or(usual), after.or(usual)) {
                (None, after) => self.push(ChangeKind::Added, Subject::Bus, name, new_bus(after)),
                (_, None) => self.push(
                    ChangeKind::Removed,
                    Subject::Bus,
                    name,
                    "its log stays, what is pending is still delivered",
                ),
                (Some(before), Some(after)) => {
                    let aspects = changed([
                        (
                            "retention.age",
                            before.retention_age_ms != after.retention_age_ms,
                        ),
                        (
                            "retention.size",
                            before.retention_bytes != after.retention_bytes,
                        ),
                        ("dedupe", before.dedupe_ms != after.dedupe_ms),
                        ("differing", before.differing != after.differing),
                    ]);
                    if !aspects.is_empty() {
                        let effect = if keeps_less(before, after) {
                            let words = ("event", "events");
                            let whose = PendingOf::Events(after);
                            let removed = self.removal_effect(whose, words, "past the limits");
                            format!("{removed}; no delivery changes")
                        } else {
                            "concerns the log; no delivery changes".to_owned()
                        };
                        self.push_changed(Subject::Bus, name, aspects, effect);
                    }
                }
            }
        }
    }

    fn functions(&mut self, old: &Manifest, new: &Manifest, replaced: &BTreeSet<Name>) {
        let pairs = paired(&old.functions, &new.functions, |function| &function.name);
        for (name, (before, after)) in pairs {
            match (before, after) {
                (None, _) => self.push(ChangeKind::Added, Subject::Function, name, "added"),
                (_, None) => {
                    let pending = self.pending_effect(PendingOf::Function(name), "still run on it");
                    let effect = format!("stays deployed until it is deleted; {pending}");
                    self.push(ChangeKind::Removed, Subject::Function, name, effect);
                }
                (Some(before), Some(after)) => {
                    self.function(before, after, replaced.contains(name));
                }
            }
        }
    }

    fn function(
        &mut self,
        before: &FunctionDeclaration,
        after: &FunctionDeclaration,
        replaced: bool,
    ) {
        let component = replaced || other_digest(before, after);
        let (was, is) = (&before.config, &after.config);
        let aspects = changed([
            ("component", component),
            ("limits", was.limits != is.limits),
            ("config", was.config != is.config),
            ("secrets", was.secrets != is.secrets),
            ("allow_http", was.allow_http != is.allow_http),
        ]);
        if aspects.is_empty() {
            return;
        }
        let will = if component {
            "run on the new revision; attempts under way end on the old one"
        } else {
            "run with the new settings; attempts under way end with the old ones"
        };
        let effect = self.pending_effect(PendingOf::Function(&after.name), will);
        self.push_changed(Subject::Function, &after.name, aspects, effect);
    }

    fn rules(&mut self, old: &'m Manifest, new: &'m Manifest) {
        for (name, (before, after)) in paired(&old.rules, &new.rules, |rule| &rule.name) {
            match (before, after) {
                (None, after) => {
                    let effect = match self.starts.1.get(name) {
                        None => "applies to new events only".to_owned(),
                        Some(start) => format!("gets {} first, then new events", past(*start)),
                    };
                    self.push(ChangeKind::Added, Subject::Rule, name, effect);
                    if let Some(rule) = after {
                        self.taken_over(rule);
                    }
                }
                (Some(_), None) => {
                    let pending = self.pending_effect(PendingOf::Rule(name), "still run");
                    let effect = format!("stops matching; {pending}");
                    self.push(ChangeKind::Removed, Subject::Rule, name, effect);
                }
                (Some(before), Some(after)) => self.rule(before, after),
            }
        }
    }

    /// The subscriptions that a new rule has from another one.
    fn taken_over(&mut self, rule: &'m RuleConfig) {
        for now in &rule.targets {
            if let Some((_, before)) = self.before.get(&(&rule.bus, &now.name)).copied() {
                self.subscription(before, now, true);
            }
        }
    }

    fn rule(&mut self, before: &'m RuleConfig, now: &'m RuleConfig) {
        let aspects = changed([
            ("bus", before.bus != now.bus),
            ("match", before.pattern != now.pattern),
            ("where", before.filters != now.filters),
            ("enabled", before.enabled != now.enabled),
        ]);
        let (was, is) = self.starts;
        let other_start = was.get(&now.name) != is.get(&now.name);
        let described = changed([
            ("description", before.description != now.description),
            ("from", other_start),
        ]);
        if aspects.is_empty() && other_start {
            let effect = "counts for subscriptions that are new; nothing is replayed".to_owned();
            self.push_changed(Subject::Rule, &now.name, described, effect);
        } else if aspects.is_empty() && !described.is_empty() {
            let effect = "are words alone; no delivery changes".to_owned();
            self.push_changed(Subject::Rule, &now.name, described, effect);
        }
        if !aspects.is_empty() {
            let pending = self.pending_effect(PendingOf::Rule(&now.name), "stay pending");
            let effect = format!("applies to new events; {pending}");
            self.push_changed(Subject::Rule, &now.name, aspects, effect);
        }
        let pairs = paired(&before.targets, &now.targets, |target| &target.name);
        for (name, (was, is)) in pairs {
            let elsewhere = self.before.get(&(&now.bus, name)).copied();
            let stays = self.after.contains_key(&(&before.bus, name));
            match (was, is) {
                (Some(was), Some(is)) => self.subscription(was, is, false),
                (None, Some(is)) => match elsewhere {
                    Some((_, was)) => self.subscription(was, is, true),
                    None => {
                        let effect = match self.starts.1.get(&now.name) {
                            None => "gets events from now on, none that are in the log".to_owned(),
                            Some(start) => format!("gets {} first, then new events", past(*start)),
                        };
                        self.push(ChangeKind::Added, Subject::Subscription, name, effect);
                    }
                },
                (Some(_), None) if !stays => {
                    let pending = self.pending_effect(PendingOf::Subscription(name), "still run");
                    let effect = format!("gets no new events; {pending}");
                    self.push(ChangeKind::Removed, Subject::Subscription, name, effect);
                }
                // It is shown with the rule that has it now.
                (Some(_), None) | (None, None) => {}
            }
        }
    }

    /// What differs of a subscription that is in both manifests; `moved` from one rule to another.
    fn subscription(&mut self, before: &TargetConfig, after: &TargetConfig, moved: bool) {
        let (to, input) = (before.to != after.to, before.input != after.input);
        let retry = before.retry != after.retry;
        let of_dead_letters = |target: &TargetConfig| {
            let bus = target.dead_letter_bus.clone();
            (target.dead_letter_ms, bus)
        };
        let dead_letter = of_dead_letters(before) != of_dead_letters(after);
        let aspects = changed([
            ("rule", moved),
            ("to", to),
            ("input", input),
            ("retry", retry),
            ("dead_letter", dead_letter),
        ]);
        if aspects.is_empty() {
            return;
        }
        let pending_of = PendingOf::Subscription(&after.name);
        let removed = (after.dead_letter_ms < before.dead_letter_ms).then(|| {
            let whose = PendingOf::Letters(&after.name, after.dead_letter_ms);
            let that = format!("older than {}", duration_text(after.dead_letter_ms));
            self.removal_effect(whose, ("dead letter", "dead letters"), &that)
        });
        let mut effect = if to {
            let will = format!("go to {} from the next attempt on", after.to);
            self.pending_effect(pending_of, &will)
        } else if input {
            self.pending_effect(
                pending_of,
                "get the new input, and follow the new policy, from the next attempt on",
            )
        } else if retry {
            self.pending_effect(
                pending_of,
                "follow the new policy from the next attempt on; due times stay",
            )
        } else if moved {
            let pending = self.pending_effect(pending_of, "stay pending");
            format!("keeps its number and its history; {pending}")
        } else if removed.is_some() {
            "no delivery changes".to_owned()
        } else {
            "concerns dead letters; no delivery changes".to_owned()
        };
        if let Some(removed) = removed {
            effect = format!("{removed}; {effect}");
        }
        self.push_changed(Subject::Subscription, &after.name, aspects, effect);
    }
}

/// `1 event`, `about 12 events`, `12 events or more`.
fn counted(found: PendingCount, one: &str, many: &str) -> String {
    let PendingCount { count, more, about } = found;
    let about = if about { "about " } else { "" };
    match (count, more) {
        (1, false) => format!("{about}1 {one}"),
        (_, false) => format!("{about}{count} {many}"),
        (_, true) => format!("{about}{count} {many} or more"),
    }
}

/// What of the past a new subscription gets.
fn past(start: StartPosition) -> String {
    match start {
        StartPosition::Now => "nothing of the past".to_owned(),
        StartPosition::Earliest => "all that the log has, by a replay,".to_owned(),
        StartPosition::Time(time) => format!("what came since {time}, by a replay,"),
    }
}

/// True where both name a component by digest and the digests differ. Another path is no change.
fn other_digest(before: &FunctionDeclaration, after: &FunctionDeclaration) -> bool {
    match (&before.component, &after.component) {
        (Some(ComponentSource::Digest(before)), Some(ComponentSource::Digest(after))) => {
            before != after
        }
        _ => false,
    }
}
