//! Generates rules and events that often match: few names, few values, every operator, every spelling.

use super::odd;

/// Pseudo-random numbers (splitmix64). The same seed gives the same numbers.
pub(super) struct Random {
    state: u64,
    /// The names of members in patterns and events.
    names: [String; NAMES.len()],
}

impl Random {
    pub(super) fn new(start: u64) -> Self {
        let mut random = Random {
            state: start.wrapping_mul(0x2545_F491_4F6C_DD1D),
            names: NAMES.map(str::to_owned),
        };
        if random.below(2) == 0 {
            random.names = std::array::from_fn(|_| odd::name(&mut random));
        }
        random
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    pub(super) fn one<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[self.below(choices.len())]
    }

    fn name(&mut self) -> String {
        let place = self.below(NAMES.len());
        self.names[place].clone()
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "long-name-1", "long-name-2"];

const STRINGS: [&str; 34] = [
    "",
    "a",
    "ab",
    "abc",
    "A",
    "aB",
    "x",
    "xyz",
    "yz",
    "abcabc",
    "straße",
    "STRASSE",
    "é",
    "É",
    "ẞ",
    "ss",
    "İ",
    "ΟΔΟΣ",
    "οδος",
    "::1",
    "0:0:0:0:0:0:0:1",
    "10.0.0.1",
    "10.0.0.200",
    "10.1.2.3",
    "::ffff:10.0.0.1",
    "2001:db8::1",
    "2001:db8::2",
    "a*b",
    "😀",
    "\u{10428}x",
    "\u{10400}X",
    "null",
    "1",
    "a long enough text to be searched wider, with an end that is read",
];

const NUMBERS: [&str; 28] = [
    "0",
    "-0",
    "0.0",
    "1",
    "1.0",
    "1e0",
    "2",
    "3",
    "-1",
    "-1.5",
    "10",
    "1e1",
    "300",
    "3.0e2",
    "0.1",
    "1e-1",
    "123456.789",
    "12345678901234567890",
    "12345678901234567890.0",
    "9007199254740992",
    "9007199254740993",
    "1e400",
    "-1e400",
    "5e-324",
    "1e300",
    "-122.41600944012424",
    "0.30000000000000004",
    "100000000000000000000",
];

/// Operands of ranges. Binary64 represents all of them exactly.
const ENDS: [&str; 9] = ["-2", "-1", "-0.5", "0", "1", "2", "10", "300", "1e300"];

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn text(random: &mut Random) -> String {
    match random.below(12) {
        0 => odd::text(random),
        _ => random.one(&STRINGS).to_owned(),
    }
}

fn string(random: &mut Random) -> String {
    quoted(&text(random))
}

/// A non-empty string.
fn piece(random: &mut Random) -> String {
    loop {
        let text = &text(random);
        if !text.is_empty() {
            return quoted(text);
        }
    }
}

fn list(random: &mut Random, of: fn(&mut Random) -> String) -> String {
    let most = if random.below(12) == 0 { 14 } else { 3 };
    let count = random.below(most) + 1;
    let items: Vec<String> = (0..count).map(|_| of(random)).collect();
    items.join(",")
}

fn wildcard(random: &mut Random) -> String {
    let text = random.one(&[
        "*",
        "a*",
        "*a",
        "a*c",
        "*b*",
        "*bc*bc",
        "ab*c",
        "x*",
        "*z",
        "*10.*",
        "a\\*b",
        "*\\**",
        "abc",
        "*long enough*wider*read",
        "*é*",
        "1*.*.*",
        "*searched*",
    ]);
    quoted(text)
}

fn range(random: &mut Random) -> String {
    if random.below(2) == 0 {
        let sign = random.one(&["=", "<", "<=", ">", ">="]);
        return format!("[\"{sign}\",{}]", random.one(&ENDS));
    }
    let low = random.below(ENDS.len() - 1);
    let high = low + 1 + random.below(ENDS.len() - 1 - low);
    let (from, to) = (random.one(&[">", ">="]), random.one(&["<", "<="]));
    format!("[\"{from}\",{},\"{to}\",{}]", ENDS[low], ENDS[high])
}

fn number(random: &mut Random) -> String {
    match random.below(8) {
        0 => odd::number(random),
        _ => random.one(&NUMBERS).to_owned(),
    }
}

fn literal(random: &mut Random) -> String {
    if random.below(2) == 0 {
        string(random)
    } else {
        number(random)
    }
}

/// An alternative that may stand inside of others. A few are refused there.
fn inner(random: &mut Random) -> String {
    match random.below(5) {
        0 | 1 => literal(random),
        2 => format!(r#"{{"not":[{}]}}"#, literal(random)),
        _ => alternative(random),
    }
}

fn alternative(random: &mut Random) -> String {
    match random.below(29) {
        0..=4 => string(random),
        5..=7 => number(random),
        8 => random.one(&["null", "true", "false"]).to_owned(),
        9 => format!(r#"{{"prefix":{}}}"#, string(random)),
        10 => format!(r#"{{"suffix":{}}}"#, string(random)),
        11 => format!(r#"{{"equals-ignore-case":{}}}"#, string(random)),
        12 => {
            let end = random.one(&["prefix", "suffix"]);
            format!(r#"{{"{end}":{{"equals-ignore-case":{}}}}}"#, string(random))
        }
        13 | 14 => format!(r#"{{"wildcard":{}}}"#, wildcard(random)),
        15 => format!(r#"{{"anything-but":[{}]}}"#, list(random, string)),
        16 => format!(r#"{{"anything-but":[{}]}}"#, list(random, number)),
        17 => {
            let kind = random.one(&["prefix", "suffix", "equals-ignore-case"]);
            format!(
                r#"{{"anything-but":{{"{kind}":[{}]}}}}"#,
                list(random, piece)
            )
        }
        18 => format!(r#"{{"anything-but":{{"wildcard":{}}}}}"#, wildcard(random)),
        19 => format!(r#"{{"numeric":{}}}"#, range(random)),
        20 => {
            let block = random.one(&[
                "10.0.0.0/8",
                "10.0.0.0/25",
                "2001:db8::/32",
                "::/0",
                "0.0.0.0/0",
                "10.0.0.1/31",
            ]);
            format!(r#"{{"cidr":"{block}"}}"#)
        }
        21 => format!(
            r#"{{"wildcard":{{"equals-ignore-case":{}}}}}"#,
            wildcard(random)
        ),
        22 | 23 => {
            let name = random.one(&["all", "not", "contains-all"]);
            format!(r#"{{"{name}":[{}]}}"#, list(random, inner))
        }
        24 => {
            let form = random.one(&["a.*", "[a-c]+", "(x|y)?.?z", r"\\p{Lu}+", "1[0-9.]*"]);
            format!(r#"{{"regex":"{form}"}}"#)
        }
        25 => format!(r#"{{"exactly":[{}]}}"#, list(random, literal)),
        26 => format!(r#"{{"contains-all":[{}]}}"#, list(random, literal)),
        _ => format!(
            r#"{{"exists":{}}}"#,
            random.one(&["true", "false", "false"])
        ),
    }
}

pub(super) fn name(random: &mut Random) -> String {
    let name = random.name();
    match random.below(12) {
        0 => format!("{name}.{}", random.name()),
        1 if random.below(4) == 0 => format!("{name}.{}.{}", random.name(), random.name()),
        2 if random.below(4) == 0 => String::new(),
        _ => name,
    }
}

/// The name of a member that hardly any rule mentions.
fn other_name(random: &mut Random) -> String {
    match random.below(3) {
        0 => "other".to_owned(),
        1 => odd::name(random),
        _ => {
            let name = random.name();
            odd::nearly(random, &name)
        }
    }
}

fn fields(random: &mut Random, depth: usize) -> String {
    let count = random.below(3) + 1;
    let mut fields = Vec::new();
    for _ in 0..count {
        let field = match random.below(10) {
            0..=2 if depth < 3 => {
                let name = quoted(&name(random));
                format!("{name}:{{{}}}", fields_of(random, depth))
            }
            3 if depth < 3 => {
                let count = random.below(2) + 2;
                let any: Vec<String> = (0..count)
                    .map(|_| format!("{{{}}}", fields_of(random, depth)))
                    .collect();
                format!("\"$or\":[{}]", any.join(","))
            }
            _ => {
                let name = quoted(&name(random));
                format!("{name}:[{}]", list(random, alternative))
            }
        };
        fields.push(field);
    }
    fields.join(",")
}

fn fields_of(random: &mut Random, depth: usize) -> String {
    fields(random, depth + 1)
}

/// A pattern, nearly always a valid one.
pub(super) fn pattern(random: &mut Random) -> String {
    format!("{{{}}}", fields(random, 0))
}

fn space(random: &mut Random) -> &'static str {
    if random.below(10) == 0 {
        random.one(&[" ", "\n", "\t\r\n "])
    } else {
        ""
    }
}

/// A string, sometimes with escapes where none are needed.
fn spelled(random: &mut Random, text: &str) -> String {
    if random.below(6) > 0 {
        return quoted(text);
    }
    let mut spelled = String::from('"');
    for unit in text.encode_utf16() {
        let plain = char::from_u32(u32::from(unit)).filter(|found| found.is_ascii_alphanumeric());
        match plain {
            Some(plain) if random.below(2) == 0 => spelled.push(plain),
            _ => spelled.push_str(&format!("\\u{unit:04x}")),
        }
    }
    spelled.push('"');
    spelled
}

/// A small number, and sometimes one so large that the code takes another path.
fn count(random: &mut Random, few: usize, depth: usize) -> usize {
    let most = if random.below(12) == 0 {
        40 >> depth
    } else {
        0
    };
    random.below(most.max(few))
}

pub(super) fn value(random: &mut Random, depth: usize) -> String {
    match random.below(16) {
        0..=3 if depth < 6 => object(random, depth + 1),
        4..=6 if depth < 6 => {
            let count = count(random, 4, depth);
            let items: Vec<String> = (0..count)
                .map(|_| {
                    format!(
                        "{}{}{}",
                        space(random),
                        value(random, depth + 1),
                        space(random)
                    )
                })
                .collect();
            format!("[{}]", items.join(","))
        }
        7..=9 => number(random),
        10 => random.one(&["null", "true", "false"]).to_owned(),
        _ => {
            let text = text(random);
            spelled(random, &text)
        }
    }
}

fn object(random: &mut Random, depth: usize) -> String {
    let count = count(random, 5, depth);
    let members: Vec<String> = (0..count)
        .map(|_| {
            let name = if random.below(8) == 0 {
                other_name(random)
            } else {
                name(random)
            };
            let (before, after) = (space(random), space(random));
            format!(
                "{before}{}{after}:{}{}",
                spelled(random, &name),
                value(random, depth),
                space(random)
            )
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// An event, valid except for duplicate keys.
pub(super) fn event(random: &mut Random) -> String {
    object(random, 0)
}

/// The event, sometimes with bytes changed, cut off or doubled.
pub(super) fn corrupt(random: &mut Random, event: String) -> Vec<u8> {
    let mut bytes = event.into_bytes();
    if random.below(5) > 0 {
        return bytes;
    }
    for _ in 0..random.below(3) + 1 {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes.truncate(at + 1),
            1 => bytes.insert(at, b"\"{}[],:\\0e. \xFF\x01"[random.below(14)]),
            2 => {
                bytes.remove(at);
                if bytes.is_empty() {
                    return bytes;
                }
            }
            _ => bytes[at] = b"\"{}[],:\\0e. \xFF\x01"[random.below(14)],
        }
    }
    bytes
}
