//! Which known word was meant by an unknown one.

/// Words that people bring from other systems, with ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("pattern", "match"),
    ("event_pattern", "match"),
    ("filter", "where"),
    ("filters", "where"),
    ("target", "to"),
    ("targets", "to"),
    ("env", "config"),
    ("environment", "config"),
    ("wasm", "component"),
    ("path", "component"),
    ("dlq", "dead_letter"),
    ("retries", "retry"),
    ("max_attempts", "attempts"),
    ("multiplier", "factor"),
    ("ttl", "age"),
    ("state", "enabled"),
    ("active", "enabled"),
    ("comment", "description"),
];

/// The word of `known` that `written` is nearest to, if it is near at all.
pub(super) fn nearest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let wanted = plain(written);
    let meant = SYNONYMS
        .iter()
        .find(|(foreign, _)| *foreign == wanted)
        .map(|(_, ours)| *ours);
    let length = wanted.chars().count();
    if length > 64 {
        return None;
    }
    let near = known
        .clone()
        .into_iter()
        .map(|word| (strsim::osa_distance(&wanted, &plain(word)), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= (length.max(word.len()) / 3).max(1))
        .map(|(_, word)| word);
    known.into_iter().find(|word| Some(*word) == meant).or(near)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let known = ["match", "where", "to", "bus", "dead_letter"];
        let table = [
            ("macth", Some("match")),
            ("Match", Some("match")),
            ("dead-letter", Some("dead_letter")),
            ("pattern", Some("match")),
            ("targets", Some("to")),
            ("buss", Some("bus")),
            ("xylophone", None),
            ("", None),
        ];
        for (written, meant) in table {
            assert_eq!(nearest(written, known), meant, "{written:?}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
