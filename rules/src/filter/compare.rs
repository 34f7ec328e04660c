//! Compares two values (RFC 9535, 2.3.5.2.2): deep equality, and order among numbers and among strings.
//!
//! Numbers are compared by their exact values, in whatever form they are stored. Each pair of values below
//! takes a step, and so do some bytes of two strings. Never here: an order of values of different kinds.

use super::plan::Comparison;
use super::steps::{Steps, UsedUp};
use serde_json::{Number, Value};
use std::cmp::Ordering;

/// Bytes of strings that count as one step.
const BYTES_A_STEP: usize = 64;

/// The steps for reading this many bytes of a string, in addition to the one for the string itself.
pub(super) fn steps_of_text(bytes: usize) -> usize {
    bytes / BYTES_A_STEP
}

/// Whether the comparison holds. `None` stands for a missing value. The caller counts the step for this pair.
pub(super) fn holds(
    left: Option<&Value>,
    comparison: Comparison,
    right: Option<&Value>,
    steps: &mut Steps,
) -> Result<bool, UsedUp> {
    let equal = |steps: &mut Steps| match (left, right) {
        (Some(left), Some(right)) => equal(left, right, steps),
        (left, right) => Ok(left.is_none() && right.is_none()),
    };
    let ordered = |wanted: Ordering, steps: &mut Steps| match (left, right) {
        (Some(left), Some(right)) => Ok(order(left, right, steps)? == Some(wanted)),
        _ => Ok(false),
    };
    Ok(match comparison {
        Comparison::Equal => equal(steps)?,
        Comparison::NotEqual => !equal(steps)?,
        Comparison::Less => ordered(Ordering::Less, steps)?,
        Comparison::Greater => ordered(Ordering::Greater, steps)?,
        Comparison::LessOrEqual => ordered(Ordering::Less, steps)? || equal(steps)?,
        Comparison::GreaterOrEqual => ordered(Ordering::Greater, steps)? || equal(steps)?,
    })
}

/// Recursion goes as deep as the values, whose depth is bounded when they are read.
fn equal(left: &Value, right: &Value, steps: &mut Steps) -> Result<bool, UsedUp> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Number(left), Value::Number(right)) => {
            order_of_numbers(left, right) == Some(Ordering::Equal)
        }
        (Value::String(left), Value::String(right)) => {
            if left.len() == right.len() {
                steps.spend_many(steps_of_text(left.len()))?;
            }
            left == right
        }
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right) {
                steps.spend()?;
                if !equal(left, right, steps)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(left), Value::Object(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (name, left) in left {
                steps.spend_many(1 + steps_of_text(name.len()))?;
                match right.get(name) {
                    Some(right) if equal(left, right, steps)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        _ => false,
    })
}

fn order(left: &Value, right: &Value, steps: &mut Steps) -> Result<Option<Ordering>, UsedUp> {
    Ok(match (left, right) {
        (Value::Number(left), Value::Number(right)) => order_of_numbers(left, right),
        (Value::String(left), Value::String(right)) => {
            steps.spend_many(steps_of_text(left.len().min(right.len())))?;
            // The order of UTF-8 bytes is the order of scalar values.
            Some(left.cmp(right))
        }
        _ => None,
    })
}

/// A number as the tree holds it.
enum Exact {
    Whole(i128),
    Float(f64),
}

fn exact(number: &Number) -> Option<Exact> {
    let whole = number.as_i64().map(i128::from);
    let whole = whole.or_else(|| number.as_u64().map(i128::from));
    whole
        .map(Exact::Whole)
        .or_else(|| number.as_f64().map(Exact::Float))
}

fn order_of_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (exact(left)?, exact(right)?) {
        (Exact::Whole(left), Exact::Whole(right)) => Some(left.cmp(&right)),
        (Exact::Float(left), Exact::Float(right)) => left.partial_cmp(&right),
        (Exact::Whole(left), Exact::Float(right)) => whole_with_float(left, right),
        (Exact::Float(left), Exact::Whole(right)) => {
            whole_with_float(right, left).map(Ordering::reverse)
        }
    }
}

/// The order of a whole number of 64 bits and a float.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a float within 2^65 has its whole part in 128 bits, and that is cast back exactly"
)]
fn whole_with_float(whole: i128, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 36_893_488_147_419_103_232.0;
    if float.is_nan() {
        return None;
    }
    if float.abs() >= BEYOND {
        return 0.0.partial_cmp(&float);
    }
    let floor = float.floor();
    Some(whole.cmp(&(floor as i128)).then(match float > floor {
        true => Ordering::Less,
        false => Ordering::Equal,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let mut numbers: Vec<Value> = serde_json::from_str(
            "[-1e300, -18446744073709551616.0, -9223372036854775808, -1.5, -1, -0.5, 0, 1e-300, \
             2.220446049250313e-16, 0.1, 0.30000000000000004, 1, 1.0000000000000002, \
             9007199254740992, 9007199254740993, 9223372036854775807, 9223372036854775808, \
             18446744073709551615, 18446744073709551616.0, 1e300]",
        )
        .unwrap();
        numbers.push(Value::from(f64::MAX));
        for (i, left) in numbers.iter().enumerate() {
            for (j, right) in numbers.iter().enumerate() {
                let mut steps = Steps::of_event();
                let found = order(left, right, &mut steps).unwrap();
                assert_eq!(found, Some(i.cmp(&j)), "{left} and {right}");
            }
        }
        for (left, right) in [
            ("1", "1.0"),
            ("0", "-0.0"),
            ("9007199254740992", "9007199254740992.0"),
        ] {
            let [left, right] = [left, right].map(|text| serde_json::from_str(text).unwrap());
            let steps = &mut Steps::of_event();
            assert_eq!(equal(&left, &right, steps), Ok(true), "{left} and {right}");
        }
    }
}
