//! All limits of this crate, in one place.
//!
//! An error names the limit that was exceeded. None of them is a setting: a pattern that one bus accepts,
//! every bus accepts.

/// Bytes of a pattern's text in the project's own dialect.
pub(crate) const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Characters of a pattern's text in EventBridge's dialect (its documented quota).
pub(crate) const PATTERN_CHARACTERS_MAX_EVENTBRIDGE: usize = 4096;
/// Brackets that are open at once in a pattern.
pub(crate) const PATTERN_DEPTH_MAX: usize = 128;
/// Fields (leaf arrays) of a pattern, as written.
pub(crate) const PATTERN_FIELDS_MAX: usize = 256;
/// Segments of one field's path, after dotted keys are split.
pub(crate) const PATH_SEGMENTS_MAX: usize = 64;
/// Sub-rules of a pattern, after every `$or` is multiplied out.
pub(crate) const SUB_RULES_MAX: usize = 1000;
/// Unescaped `*` in one wildcard. Each is a place to which the match may have to return.
pub(crate) const WILDCARD_STARS_MAX: usize = 5;
/// Characters of a wildcard that ignores letter case. Its search takes time proportional to this for each
/// character of a value.
pub(crate) const WILDCARD_IGNORING_CASE_CHARACTERS_MAX: usize = 256;
/// Conditions or values listed in one `all`, `not`, `contains-all` or `exactly`.
pub(crate) const LISTED_CONDITIONS_MAX: usize = 256;
/// Bytes of a regex.
pub(crate) const REGEX_BYTES_MAX: usize = 1024;
/// Bytes that a compiled regex, or its cache, may take.
pub(crate) const REGEX_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Groups that are open at once in a regex.
pub(crate) const REGEX_GROUPS_OPEN_MAX: usize = 32;
/// The largest number in a repetition of a regex.
pub(crate) const REGEX_REPEAT_MAX: usize = 1000;
/// Errors reported for one pattern. The rest are reported once these are fixed.
pub(crate) const ERRORS_MAX: usize = 100;

/// Brackets that are open at once in an event, including the event's own object.
pub(crate) const EVENT_DEPTH_MAX: usize = 64;
/// Bytes of all parts of an event together, without names. The bus has a much smaller bound. This one makes
/// offsets fit in 32 bits.
pub(crate) const EVENT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Choices that the search tries for one sub-rule and one event. It chooses between several arrays that spell
/// one path (`{"a.b":[…],"a":{"b":[…]}}`), or between a value beside an array and one inside it, if `exists:
/// false` depends on that. Events that spell each path once hardly ever need a choice.
pub(crate) const SPELLING_CHOICES_MAX: usize = 1000;

/// Bytes of a `where` query.
pub(crate) const FILTER_BYTES_MAX: usize = 4096;
/// Brackets and parentheses that are open at once in a `where` query.
pub(crate) const FILTER_DEPTH_MAX: usize = 16;
/// Descendant segments (`..`) in a `where` query. Each multiplies the nodes visited.
pub(crate) const FILTER_DESCENDANTS_MAX: usize = 2;
/// Steps that all queries of all rules may take together for one event.
pub(crate) const FILTER_STEPS_MAX: usize = 5_000_000;
/// Regexes in a `where` query.
pub(crate) const FILTER_REGEXES_MAX: usize = 16;
/// Bytes of a compiled regex of a `where` query.
pub(crate) const FILTER_REGEX_COMPILED_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a compiled regex that is a value of an event, if a query uses it.
pub(crate) const FILTER_EVENT_REGEX_COMPILED_BYTES_MAX: usize = 64 * 1024;
/// Steps that are counted for compiling a regex from an event.
pub(crate) const FILTER_EVENT_REGEX_STEPS: usize = 50_000;
/// Bytes of the cached states of a query's regex for one event. Beyond this the cache starts anew.
pub(crate) const REGEX_CACHE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a template or a constant, as JSON.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Characters of a template in EventBridge's form (its documented quota).
pub(crate) const TEMPLATE_CHARACTERS_MAX_EVENTBRIDGE: usize = 8192;
/// Different paths in one template. EventBridge has the same quota for variables.
pub(crate) const TEMPLATE_PATHS_MAX: usize = 100;
/// Placeholders in one template, including repeated ones.
pub(crate) const TEMPLATE_PLACEHOLDERS_MAX: usize = 1000;
/// Characters of a variable's name in EventBridge's form (its documented quota).
pub(crate) const VARIABLE_CHARACTERS_MAX: usize = 256;
/// Values that one query of a template may select from one event.
pub(crate) const TRANSFORM_VALUES_MAX: usize = 10_000;
/// Bytes of the input that a transform makes.
pub(crate) const TRANSFORM_BYTES_MAX: usize = 1024 * 1024;

/// Pairs of operators that one check of patterns may compare. Beyond this the check reports nothing.
pub(crate) const LINT_COMPARISONS_MAX: usize = 200_000;

/// Sub-rules shown in one explanation.
pub(crate) const EXPLAINED_BRANCHES_MAX: usize = 50;
/// Values shown for one condition of an explanation.
pub(crate) const EXPLAINED_VALUES_MAX: usize = 5;
/// Characters shown of one value or operand.
pub(crate) const EXCERPT_CHARACTERS_MAX: usize = 80;
