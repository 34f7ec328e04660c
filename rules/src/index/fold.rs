//! Folds letter case, so that a look-up can find conditions that ignore case.
//!
//! `equals-ignore-case` accepts each character of a pattern as it is, in its lower form or in its upper form.
//! Folding maps all three forms to the same text, character by character. So a pattern and every value that
//! meets it have the same folded text. The reverse need not hold, because candidates are compared in full. If
//! the forms of a character don't fold alike, `folded_pattern` returns `None`, and the condition gets no
//! folded key.

/// Appends the folded form of a text.
pub(super) fn fold(text: &str, folded: &mut String) {
    if text.is_ascii() {
        folded.extend(text.chars().map(|character| character.to_ascii_lowercase()));
        return;
    }
    for character in text.chars() {
        fold_character(character, folded);
    }
}

fn fold_character(character: char, folded: &mut String) {
    if character.is_ascii() {
        folded.push(character.to_ascii_lowercase());
        return;
    }
    let lower = character.to_lowercase();
    folded.extend(
        lower
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase),
    );
}

/// The folded form of a pattern's text. `None` unless all forms of each of its characters fold alike.
pub(super) fn folded_pattern(text: &str) -> Option<String> {
    text.chars().all(folds_alike).then(|| {
        let mut folded = String::new();
        fold(text, &mut folded);
        folded
    })
}

fn folds_alike(character: char) -> bool {
    if character.is_ascii() {
        return true;
    }
    let folded = |text: &str| {
        let mut folded = String::new();
        text.chars()
            .for_each(|character| fold_character(character, &mut folded));
        folded
    };
    let itself = folded(&character.to_string());
    itself == folded(&character.to_lowercase().to_string())
        && itself == folded(&character.to_uppercase().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exceptions are so few that it doesn't matter that their conditions get no folded key.
    #[test]
    fn nearly_all_characters_fold_alike() {
        let odd = ('\0'..=char::MAX).filter(|&character| !folds_alike(character));
        let odd: String = odd.collect();
        assert!(odd.chars().count() < 20, "{odd}");
        for (one, other) in [
            ("straße", "STRASSE"),
            ("ẞ", "ss"),
            ("ΟΔΟς", "οδοσ"),
            ("K", "k"),
        ] {
            assert_eq!(folded_pattern(one), folded_pattern(other));
        }
    }
}
