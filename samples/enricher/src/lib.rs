//! Enriches a placed order: sums its lines and converts the sum into the shop's own currency.
//!
//! Takes `com.example.order.placed` and emits `com.example.order.enriched`, which has everything that the
//! order had, the sum in both currencies, and the region that the country belongs to.
//!
//! Config: `CURRENCY` is the shop's own (`EUR` if it is not set). `RATE_USD` and so on say what one unit of
//! a currency is worth in it, as decimals: `0.92`. `REGION_DE` and so on name a country's region.

#![forbid(unsafe_code)]

use edgebus_sdk::{Emit, Event, Failure, config, function, log};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An order; what isn't named here is carried over.
#[derive(Deserialize)]
pub struct Order {
    id: String,
    currency: String,
    country: Option<String>,
    lines: Vec<Line>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One line of it.
#[derive(Serialize, Deserialize)]
pub struct Line {
    sku: String,
    quantity: u32,
    unit_cents: u64,
}

/// The order with what was found out.
#[derive(Serialize)]
struct Enriched<'a> {
    id: &'a str,
    currency: &'a str,
    country: Option<&'a str>,
    region: Option<String>,
    lines: &'a [Line],
    items: u64,
    total_cents: u64,
    base_currency: &'a str,
    base_total_cents: u64,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

/// Rates are counted in millionths, so that no cent is lost to binary fractions.
const MILLION: u64 = 1_000_000;

#[function]
fn handle(event: Event<Order>) -> Result<Emit, Failure> {
    let order = event.data;
    let (items, total_cents) = sum(&order.lines)?;
    let base = config::get("CURRENCY").unwrap_or_else(|| "EUR".to_owned());
    let base_total_cents = if order.currency == base {
        total_cents
    } else {
        convert(total_cents, rate(&order.currency)?)?
    };
    let region = order
        .country
        .as_ref()
        .and_then(|country| config::get(&format!("REGION_{country}")));
    log::info!("order {}: {base_total_cents} cents in {base}", order.id);
    let enriched = Enriched {
        id: &order.id,
        currency: &order.currency,
        country: order.country.as_deref(),
        region,
        lines: &order.lines,
        items,
        total_cents,
        base_currency: &base,
        base_total_cents,
        rest: &order.rest,
    };
    Emit::new("com.example.order.enriched")
        .subject(&order.id)
        .json(&enriched)
}

fn sum(lines: &[Line]) -> Result<(u64, u64), Failure> {
    let mut items = 0_u64;
    let mut cents = 0_u64;
    for line in lines {
        let quantity = u64::from(line.quantity);
        items += quantity;
        cents = quantity
            .checked_mul(line.unit_cents)
            .and_then(|sum| cents.checked_add(sum))
            .ok_or_else(|| Failure::reject(format!("`{}` costs too much to count", line.sku)))?;
    }
    Ok((items, cents))
}

/// A missing rate can be added while the delivery is retried. An invalid currency code can't become valid.
fn rate(currency: &str) -> Result<u64, Failure> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Failure::reject(format!("`{currency}` is no currency")));
    }
    let key = format!("RATE_{currency}");
    let text =
        config::get(&key).ok_or_else(|| Failure::retry(format!("config `{key}` is not set")))?;
    millionths(&text).ok_or_else(|| Failure::retry(format!("config `{key}` can't be `{text}`")))
}

/// Reads a decimal of at most six places.
fn millionths(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    if places.len() > 6 || !places.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places: u64 = format!("{places:0<6}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(MILLION)?
        .checked_add(places)
}

/// Rounds half up.
fn convert(cents: u64, rate: u64) -> Result<u64, Failure> {
    let product = u128::from(cents) * u128::from(rate) + u128::from(MILLION / 2);
    u64::try_from(product / u128::from(MILLION))
        .map_err(|_| Failure::reject("the order costs too much to convert"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};
    use serde_json::json;

    fn run(order: &Value) -> Result<Emit, Failure> {
        handle(testing::event_from_json(
            "com.example.order.placed",
            &order.to_string(),
        )?)
    }

    fn order(currency: &str) -> Value {
        json!({
            "id": "o-1", "currency": currency, "country": "DE", "note": "ring twice",
            "lines": [
                { "sku": "tea", "quantity": 3, "unit_cents": 333 },
                { "sku": "pot", "quantity": 1, "unit_cents": 2_000 },
            ],
        })
    }

    #[test]
    fn sums_and_converts() {
        let harness = Harness::new()
            .config("RATE_USD", "0.92")
            .config("REGION_DE", "eu");
        let emit = run(&order("USD")).expect("fine");
        assert_eq!(emit.kind, "com.example.order.enriched");
        let data: Value = emit.data_as().expect("JSON");
        assert_eq!(data["items"], 4);
        assert_eq!(data["total_cents"], 2_999);
        assert_eq!(data["base_total_cents"], 2_759);
        assert_eq!(data["region"], "eu");
        assert_eq!(data["note"], "ring twice");
        assert_eq!(harness.output(), "INFO order o-1: 2759 cents in EUR\n");
    }

    #[test]
    fn its_own_currency_needs_no_rate() {
        let _harness = Harness::new();
        let data: Value = run(&order("EUR")).expect("fine").data_as().expect("JSON");
        assert_eq!(data["base_total_cents"], 2_999);
        assert_eq!(data["region"], Value::Null);
    }

    #[test]
    fn a_missing_rate_is_tried_again_and_no_currency_is_rejected() {
        let _harness = Harness::new().config("RATE_GBP", "1,1");
        for (currency, expected) in [
            ("USD", Failure::retry("config `RATE_USD` is not set")),
            ("GBP", Failure::retry("config `RATE_GBP` can't be `1,1`")),
            ("dollars", Failure::reject("`dollars` is no currency")),
        ] {
            assert_eq!(run(&order(currency)), Err(expected));
        }
    }

    #[test]
    fn decimals_are_read_exactly() {
        for (text, expected) in [
            ("1", Some(1_000_000)),
            ("0.92", Some(920_000)),
            ("1.000001", Some(1_000_001)),
            ("1.0000001", None),
            ("-1", None),
            ("1.-1", None),
            ("", None),
        ] {
            assert_eq!(millionths(text), expected, "{text}");
        }
    }
}
