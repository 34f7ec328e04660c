//! Events like a land register's: flat properties, then an outline of points in nested arrays.

use crate::random::Random;

const STREETS: [&str; 24] = [
    "ALDER", "BIRCHON", "CEDAR", "DOGWOOD", "ELMING", "FIRTON", "GUM", "HAZEL", "IRONBARK",
    "JUNIPER", "KAURI", "LARCH", "MAPLEKE", "NUTMEG", "OAKSON", "PINE", "QUINCE", "ROWAN",
    "SPRUCE", "TEAK", "UPAS", "VIBURNUM", "WILLOW", "YEWGO",
];

fn outline(random: &mut Random) -> usize {
    match random.below(200) {
        0..=123 => 5,
        124..=159 => 6 + random.below(4),
        160..=189 => 10 + random.below(15),
        190..=198 => 25 + random.below(36),
        _ => 61 + random.below(340),
    }
}

fn event(random: &mut Random) -> String {
    let parcel = format!("{:04}{:03}", random.below(9999) + 1, random.below(199) + 1);
    let from = random.below(4999) + 1;
    let to = from + [0, 0, 0, 2, 8][random.below(5)];
    let street = random.one(&STREETS);
    let kind = random.one(&["ST", "ST", "ST", "AVE", "CT", "DR", "WAY"]);
    let side = random.one(&["\"E\"", "\"O\"", "null"]);
    let (x, y) = (-122.5 + random.unit() * 0.14, 37.7 + random.unit() * 0.1);
    let point = |x: f64, y: f64| format!(r#"{{"x":{x},"y":{y},"z":0.0}}"#);
    let first = point(x, y);
    let mut points = vec![first.clone()];
    for _ in 2..outline(random) {
        let (dx, dy) = (random.unit() - 0.5, random.unit() - 0.5);
        points.push(point(x + dx * 0.0005, y + dy * 0.0005));
    }
    points.push(first.clone());
    let points = points.join(",");
    let (shape, outline) = match random.below(1000) {
        0 => ("MultiPolygon", format!("[[[{points}]]]")),
        _ => ("Polygon", format!("[[{points}]]")),
    };
    format!(
        r#"{{"type":"Feature","properties":{{"PARCEL_ID":"{parcel}","LOT_ID":"{parcel}","BLOCK_NUM":"{}","LOT_NUM":"{}","FROM_ST":"{from}","TO_ST":"{to}","STREET":"{street}","ST_TYPE":"{kind}","ODD_EVEN":{side}}},"geometry":{{"type":"{shape}","coordinates":{outline},"firstCoordinates":{first}}}}}"#,
        &parcel[..4],
        &parcel[4..],
    )
}

/// So many events, always the same.
pub(crate) fn events(count: usize) -> Vec<String> {
    let mut random = Random::new(7);
    (0..count).map(|_| event(&mut random)).collect()
}

fn property(name: &str, list: &str) -> String {
    format!(r#"{{"properties":{{"{name}":[{list}]}}}}"#)
}

/// Five rules for anything but what a form makes of texts.
fn but(form: &str, texts: [&str; 5]) -> Vec<String> {
    let list = |text: &str| format!(r#"{{"anything-but":{}}}"#, form.replace('%', text));
    vec![
        property("STREET", &list(texts[0])),
        property("STREET", &list(texts[1])),
        property("ST_TYPE", &list(texts[2])),
        format!(r#"{{"geometry":{{"type":[{}]}}}}"#, list(texts[3])),
        property("FROM_ST", &list(texts[4])),
    ]
}

/// Five rules for numbers at a place of the geometry.
fn numeric(place: &str) -> Vec<String> {
    let field = |kind: &str, axis: &str, list: &str| {
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!(r#""type":["{kind}"],"#)
        };
        format!(r#"{{"geometry":{{{kind}"{place}":{{"{axis}":[{{"numeric":[{list}]}}]}}}}}}"#)
    };
    vec![
        field("Polygon", "x", r#""=",-122.36598221456272"#),
        field("MultiPolygon", "y", r#""=",37.784739504870025"#),
        field("", "x", r#""<",-122.41600944012424"#),
        field("", "x", r#"">",-122.41600944012424"#),
        field("", "x", r#"">",-122.46471267081272,"<",-122.4063085128395"#),
    ]
}

/// Five rules that want one of these lists of a property.
fn on(name: &str, lists: [&str; 5]) -> Vec<String> {
    lists.iter().map(|list| property(name, list)).collect()
}

/// Five rules that want what a form makes of texts of the street.
fn each(form: &str, texts: [&str; 5]) -> Vec<String> {
    let lists = texts.map(|text| form.replace('%', text));
    lists.iter().map(|list| property("STREET", list)).collect()
}

/// One set of five rules for each way to match.
pub(crate) fn sets() -> Vec<(&'static str, Vec<String>)> {
    let wild = [
        r#"{"wildcard":"143*"}"#,
        r#"{"wildcard":"2*0*1*7"}"#,
        r#"{"wildcard":"*118"}"#,
        r#"{"wildcard":"3*5*2"}"#,
        r#"{"wildcard":"91*01"}"#,
    ];
    let but_wild = wild.map(|wild| format!(r#"{{"anything-but":{wild}}}"#));
    let but_wild = but_wild
        .iter()
        .map(|list| property("PARCEL_ID", list))
        .collect();
    let mut folded = each(
        r#"{"equals-ignore-case":"%"}"#,
        ["alder", "PiNe", "ROWAN", "tEAK", "-"],
    );
    folded[4] = property("ST_TYPE", r#"{"equals-ignore-case":"st"}"#);
    vec![
        (
            "exact",
            on(
                "PARCEL_ID",
                [
                    r#""5008191""#,
                    r#""8242034""#,
                    r#""4051015""#,
                    r#""4292132""#,
                    r#""9101001""#,
                ],
            ),
        ),
        ("wildcard", on("PARCEL_ID", wild)),
        (
            "prefix",
            each(r#"{"prefix":"%"}"#, ["AL", "BI", "DO", "FI", "QU"]),
        ),
        (
            "prefix any case",
            each(
                r#"{"prefix":{"equals-ignore-case":"%"}}"#,
                ["Al", "bI", "dO", "Fi", "qU"],
            ),
        ),
        (
            "suffix",
            each(r#"{"suffix":"%"}"#, ["ON", "KE", "UM", "ING", "GO"]),
        ),
        (
            "suffix any case",
            each(
                r#"{"suffix":{"equals-ignore-case":"%"}}"#,
                ["oN", "Ke", "uM", "InG", "gO"],
            ),
        ),
        ("any case", folded),
        ("complex arrays", numeric("coordinates")),
        ("numeric", numeric("firstCoordinates")),
        (
            "but",
            but(r#"["%"]"#, ["FIRTON", "OAKSON", "ST", "Polygon", "441"]),
        ),
        (
            "but any case",
            but(
                r#"{"equals-ignore-case":["%"]}"#,
                ["Firton", "Oakson", "st", "polygon", "441"],
            ),
        ),
        (
            "but prefix",
            but(r#"{"prefix":"%"}"#, ["FIRT", "OAKS", "S", "Poly", "44"]),
        ),
        (
            "but suffix",
            but(r#"{"suffix":"%"}"#, ["IRTON", "AKSON", "T", "olygon", "41"]),
        ),
        ("but wildcard", but_wild),
    ]
}
