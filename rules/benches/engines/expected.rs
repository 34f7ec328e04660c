//! Hits known beforehand, for the two numbers of events that `BENCHMARKS.md` names.
//!
//! They were counted from the events by a program of thirty lines that knows nothing of this crate.
//! Whoever changes what `lots` or `scale` generate counts again.

/// Numbers of events whose hits are known: a few for `cargo test` and for the caches, and the default.
pub(crate) const EVENTS: [usize; 2] = [200, 20_000];

/// A set of lots, and the hits of each of its rules.
type Lots = (&'static str, [[usize; 5]; 2]);

const LOTS: [Lots; 14] = [
    ("exact", [[0, 1, 1, 1, 0], [3, 2, 2, 2, 0]]),
    ("wildcard", [[0, 0, 1, 0, 0], [18, 31, 98, 65, 2]]),
    ("prefix", [[7, 4, 13, 5, 12], [819, 867, 869, 857, 847]]),
    (
        "prefix any case",
        [[7, 4, 13, 5, 12], [819, 867, 869, 857, 847]],
    ),
    ("suffix", [[19, 7, 18, 6, 5], [2574, 859, 1682, 817, 824]]),
    (
        "suffix any case",
        [[19, 7, 18, 6, 5], [2574, 859, 1682, 817, 824]],
    ),
    ("any case", [[7, 10, 6, 12, 86], [819, 768, 821, 869, 8584]]),
    (
        "complex arrays",
        [[1, 1, 118, 83, 89], [1, 1, 11866, 8173, 8250]],
    ),
    ("numeric", [[1, 1, 117, 83, 88], [1, 1, 11847, 8153, 8206]]),
    (
        "but",
        [[195, 190, 114, 2, 200], [19143, 19150, 11416, 31, 19997]],
    ),
    (
        "but any case",
        [[195, 190, 114, 2, 200], [19143, 19150, 11416, 31, 19997]],
    ),
    (
        "but prefix",
        [[195, 190, 114, 2, 195], [19143, 19150, 11416, 31, 19551]],
    ),
    (
        "but suffix",
        [[195, 190, 95, 0, 199], [19143, 19150, 8593, 0, 19821]],
    ),
    (
        "but wildcard",
        [
            [200, 200, 199, 200, 200],
            [19982, 19969, 19902, 19935, 19998],
        ],
    ),
];

/// A kind of rules, how many of them, and the hits of all together.
const SCALE: [(&str, usize, [usize; 2]); 15] = [
    ("tenant", 1, [9, 958]),
    ("tenant", 100, [69, 6353]),
    ("tenant", 1000, [93, 9596]),
    ("tenant", 10_000, [131, 13_136]),
    ("tenant", 100_000, [200, 20_000]),
    ("varied", 1, [0, 2]),
    ("varied", 100, [1, 210]),
    ("varied", 1000, [24, 2447]),
    ("varied", 10_000, [229, 23_950]),
    ("varied", 100_000, [2400, 240_000]),
    ("mixed", 1, [9, 958]),
    ("mixed", 100, [62, 5733]),
    ("mixed", 1000, [82, 8610]),
    ("mixed", 10_000, [114, 11_807]),
    ("mixed", 100_000, [174, 17_860]),
];

/// Hits of a rule set on all events of a row.
pub(crate) enum Expected {
    /// Of each rule.
    OfEach(Vec<usize>),
    /// Of all rules together.
    Total(usize),
}

impl Expected {
    /// Of all rules together.
    pub(crate) fn total(&self) -> usize {
        match self {
            Expected::OfEach(hits) => hits.iter().sum(),
            Expected::Total(hits) => *hits,
        }
    }
}

fn place(events: usize) -> Option<usize> {
    EVENTS.iter().position(|&known| known == events)
}

/// What a set of lots hits in so many events; none where nobody has counted.
pub(crate) fn of_lots(set: &str, events: usize) -> Option<Expected> {
    let place = place(events)?;
    let (_, hits) = LOTS.iter().find(|(name, _)| *name == set)?;
    Some(Expected::OfEach(hits[place].to_vec()))
}

/// What so many rules of a kind hit in so many events; none where nobody has counted.
pub(crate) fn of_scale(kind: &str, rules: usize, events: usize) -> Option<Expected> {
    let place = place(events)?;
    let mut known = SCALE.iter();
    let (.., hits) = known.find(|(name, count, _)| (*name, *count) == (kind, rules))?;
    Some(Expected::Total(hits[place]))
}
