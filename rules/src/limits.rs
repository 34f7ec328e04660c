//! All limits of this crate, in one place.
//!
//! A refusal names the limit it met. Nothing here is a setting: a pattern that one bus accepts,
//! every bus accepts.

/// Bytes of a pattern's text in the project's own dialect.
pub(crate) const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Characters of a pattern's text in EventBridge's dialect (its documented quota).
pub(crate) const PATTERN_CHARACTERS_MAX_EVENTBRIDGE: usize = 4096;
/// Brackets open at once in a pattern.
pub(crate) const PATTERN_DEPTH_MAX: usize = 128;
/// Fields (leaf arrays) of a pattern, as written.
pub(crate) const PATTERN_FIELDS_MAX: usize = 256;
/// Segments of one field's path, dotted keys split.
pub(crate) const PATH_SEGMENTS_MAX: usize = 64;
/// Sub-rules of a pattern after every `$or` is multiplied out.
pub(crate) const SUB_RULES_MAX: usize = 1000;
/// Unescaped `*` in one wildcard: each is a place the match may have to come back to.
pub(crate) const WILDCARD_STARS_MAX: usize = 5;
/// Characters of a wildcard that ignores letter case: its search takes that much time for each
/// character of a value.
pub(crate) const WILDCARD_IGNORING_CASE_CHARACTERS_MAX: usize = 256;
/// Conditions or values listed in one `all`, `not`, `contains-all` or `exactly`.
pub(crate) const LISTED_CONDITIONS_MAX: usize = 256;
/// Bytes of a regex.
pub(crate) const REGEX_BYTES_MAX: usize = 1024;
/// Bytes that a compiled regex, or its cache, may take.
pub(crate) const REGEX_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Groups open at once in a regex.
pub(crate) const REGEX_GROUPS_OPEN_MAX: usize = 32;
/// The largest number in a repetition of a regex.
pub(crate) const REGEX_REPEAT_MAX: usize = 1000;
/// Errors reported for one pattern; the rest appear once these are fixed.
pub(crate) const ERRORS_MAX: usize = 100;

/// Brackets open at once in an event, the event's own object counted.
pub(crate) const EVENT_DEPTH_MAX: usize = 64;
/// Bytes of all parts of an event together, names not counted. The bus has a much smaller bound; this one
/// keeps offsets in 32 bits.
pub(crate) const EVENT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Choices tried, for one sub-rule and one event, between several arrays that spell one path
/// (`{"a.b":[…],"a":{"b":[…]}}`), or between a value beside an array and one inside it, where
/// `exists: false` depends on that. Events that spell each path once hardly ever choose.
pub(crate) const SPELLING_CHOICES_MAX: usize = 1000;

/// Bytes of a `where` query.
pub(crate) const FILTER_BYTES_MAX: usize = 4096;
/// Brackets and parentheses open at once in a `where` query.
pub(crate) const FILTER_DEPTH_MAX: usize = 16;
/// Descendant segments (`..`) in a `where` query: each multiplies the nodes visited.
pub(crate) const FILTER_DESCENDANTS_MAX: usize = 2;
/// Steps that the queries of one event may take, all rules together.
pub(crate) const FILTER_STEPS_MAX: usize = 5_000_000;
/// Regexes in a `where` query.
pub(crate) const FILTER_REGEXES_MAX: usize = 16;
/// Bytes that a regex of a `where` query may take, compiled.
pub(crate) const FILTER_REGEX_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that a regex may take, compiled, that an event brings and a query asks for.
pub(crate) const FILTER_EVENT_REGEX_COMPILED_BYTES_MAX: usize = 64 * 1024;
/// Steps that compiling a regex takes that an event brings.
pub(crate) const FILTER_EVENT_REGEX_STEPS: usize = 50_000;
/// Bytes of the states that a regex of a query has made for one event; past that it starts again.
pub(crate) const REGEX_CACHE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a template or a constant, as JSON.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Characters of a template in EventBridge's form (its documented quota).
pub(crate) const TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE: usize = 8192;
/// Different paths of one template; EventBridge's quota for variables too.
pub(crate) const TEMPLATE_PATHS_MAX: usize = 100;
/// Placeholders of one template, repeated ones counted.
pub(crate) const TEMPLATE_PLACEHOLDERS_MAX: usize = 1000;
/// Characters of a variable's name in EventBridge's form (its documented quota).
pub(crate) const VARIABLE_CHARACTERS_MAX: usize = 256;
/// Values that one query of a template may select from one event.
pub(crate) const TRANSFORM_VALUES_MAX: usize = 10_000;
/// Bytes of the input that a transform makes.
pub(crate) const TRANSFORM_BYTES_MAX: usize = 1024 * 1024;

/// Pairs of operators that one question about patterns may compare; past that it stays open.
pub(crate) const LINT_COMPARISONS_MAX: usize = 200_000;

/// Sub-rules shown in one explanation.
pub(crate) const EXPLAINED_BRANCHES_MAX: usize = 50;
/// Values shown for one condition of an explanation.
pub(crate) const EXPLAINED_VALUES_MAX: usize = 5;
/// Characters shown of one value or operand.
pub(crate) const EXCERPT_CHARACTERS_MAX: usize = 80;
