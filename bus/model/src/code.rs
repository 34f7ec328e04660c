//! The codes of all errors that an operator can meet: stable for ever, each with a page that says how
//! to fix it.
//!
//! A code is shown where the error is: `error[EB0201]: …` on the command line, `"code": "EB0302"` in a
//! problem document, beside the outcome of an attempt. `edgebus explain CODE` prints the page, which is
//! `docs/errors/CODE.md`. A code is never given to something else, and one that is no longer used keeps its
//! page. Never here: the message of one occurrence. It is written where the error arises.

macro_rules! codes {
    ($($name:ident = $code:literal $title:literal,)*) => {
        /// What went wrong. Each code has a page.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code {
            $(#[doc = concat!($code, ": ", $title, ".")] $name,)*
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is shown, as in `EB0201`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// One line: what went wrong.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// Its page, in Markdown.
            #[must_use]
            pub fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("../../../docs/errors/", $code, ".md")),)* }
            }
        }
    };
}

// EB01 configuration, EB02 store, EB03 HTTP, EB040 components, EB041 outcomes of attempts, EB042
// reasons of dead letters, EB05 command line.
codes! {
    ManifestInvalid = "EB0101" "The manifest has errors",
    ManifestUnreadable = "EB0102" "The manifest can't be read",
    ComponentUnreadable = "EB0103" "A function's component can't be read",
    FunctionNotDeployed = "EB0104" "The manifest names a function that is not deployed",
    ListenNotLoopback = "EB0105" "The address is not a loopback address",
    ListenRefused = "EB0106" "The bus can't listen at the address",
    ClockUnset = "EB0107" "The machine's clock is not set",

    StoreMissing = "EB0201" "There is no store in the folder",
    StoreInUse = "EB0202" "The store is in use by another process",
    StoreNewer = "EB0203" "The store was written by another release",
    StoreMismatch = "EB0204" "The folder's files don't belong together",
    StoreForeign = "EB0205" "The file is not a store",
    StoreInaccessible = "EB0206" "The store's files can't be used",
    RecordCorrupt = "EB0207" "A stored record is corrupt",
    LogFailed = "EB0208" "The log failed while it was written: the outcome is unknown",
    DiskNearlyFull = "EB0209" "The disk is nearly full",
    NoLongerCompiles = "EB0210" "A stored function or rule no longer compiles",
    FolderNotEmpty = "EB0211" "The folder for a new store holds other things",

    InputInvalid = "EB0301" "The request is invalid",
    EventInvalid = "EB0302" "An event is not a CloudEvent that can be stored",
    PatternInvalid = "EB0303" "A pattern, filter or input is not valid",
    NotFound = "EB0304" "Not found",
    NoRoute = "EB0305" "No such path",
    MethodNotAllowed = "EB0306" "Method not allowed",
    Conflict = "EB0307" "Conflict",
    TooLarge = "EB0308" "Too large",
    MediaUnsupported = "EB0309" "The body's type or encoding is not supported",
    Busy = "EB0310" "The bus is busy",
    Unavailable = "EB0311" "The bus is starting or stopping",
    BodyTimeout = "EB0312" "The body arrived too slowly",
    BodyBroken = "EB0313" "The body is incomplete",
    HeadersTooLarge = "EB0314" "Too many header fields",
    Changed = "EB0315" "Another version is active",
    HostRefused = "EB0316" "The host is not allowed",
    OriginRefused = "EB0317" "The origin is not allowed",
    TransferCoding = "EB0318" "The transfer coding is not supported",
    PositionAhead = "EB0319" "The log ends before the position",
    FanOutTooLarge = "EB0320" "An event matches too many subscriptions",
    IdReused = "EB0321" "Another event has this id",

    NoComponent = "EB0401" "This is not a WebAssembly component",
    ComponentUnfit = "EB0402" "The component is not a function of this bus",
    ComponentNotCompiled = "EB0403" "The component doesn't compile",
    ComponentTooLarge = "EB0404" "The component is too large",
    RuntimeFailed = "EB0405" "The WebAssembly runtime failed",

    OutcomeRetry = "EB0411" "Outcome `retry`: the function asked to be tried again",
    OutcomeReject = "EB0412" "Outcome `reject`: the function refused the event for good",
    OutcomeTrap = "EB0413" "Outcome `trap`: the function crashed",
    OutcomeTimeout = "EB0414" "Outcome `timeout`: the function took too long",
    OutcomeMemory = "EB0415" "Outcome `memory`: the function needs too much memory",
    OutcomeLimit = "EB0416" "Outcome `limit`: the function exceeded a limit",
    OutcomeConflict = "EB0417" "Outcome `conflict`: another attempt changed the state",
    OutcomeHost = "EB0418" "Outcome `host`: the attempt could not be made or was cut off",

    DeadAttemptsExhausted = "EB0421" "Dead letter `attempts-exhausted`: the last attempt failed",
    DeadAgeExceeded = "EB0422" "Dead letter `age-exceeded`: too old for another attempt",
    DeadHopLimit = "EB0423" "Dead letter `hop-limit`: functions emit to each other in a loop",
    DeadFanOutLimit = "EB0424" "Dead letter `fan-out-limit`: one event has too many descendants",
    DeadFunctionMissing = "EB0425" "Dead letter `function-missing`: the function is not deployed",
    DeadCorrupt = "EB0426" "Dead letter `corrupt`: the event could not be read back",

    BusUnreachable = "EB0501" "No bus answers at the address",
    AddressInvalid = "EB0502" "The address of the bus is not valid",
    FileUnreadable = "EB0503" "A file or the input can't be read",
    LineUnfit = "EB0504" "The input can't be published",
    AnswerUnreadable = "EB0505" "The bus gave an answer that can't be read",
    BuildFailed = "EB0506" "The functions can't be built",
    SystemRefused = "EB0507" "The system refuses what the process needs",
    StoppedAtOnce = "EB0508" "The bus was stopped before running attempts ended",
    NotSettledInTime = "EB0509" "The demo or the benchmark did not finish",
}

impl Code {
    /// The code that `text` spells, whatever its case, with or without `EB`.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let digits = match text.get(..2) {
            Some(letters) if letters.eq_ignore_ascii_case("EB") => &text[2..],
            _ => text,
        };
        let mut all = Self::ALL.iter();
        all.find(|code| code.as_str()[2..] == *digits).copied()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_are_in_order_and_found_by_their_text() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{pair:?}");
        }
        for code in Code::ALL {
            let text = code.as_str();
            for spelling in [text.to_owned(), text.to_lowercase(), text[2..].to_owned()] {
                assert_eq!(Code::find(&spelling), Some(*code), "{spelling}");
            }
        }
        for other in ["", "EB", "EB9999", "0", "EB01010", "é"] {
            assert_eq!(Code::find(other), None, "{other}");
        }
    }

    #[test]
    fn a_page_begins_with_its_code_and_has_every_part() {
        for code in Code::ALL {
            let page = code.page();
            let first = page.lines().next().unwrap_or_default();
            assert_eq!(first, format!("# {code}: {}", code.title()));
            let mut rest = page;
            for heading in [
                "\n## What you see\n",
                "\n## What it means\n",
                "\n## Why it happens\n",
                "\n## How to fix it\n",
                "\n## Example\n",
            ] {
                let at = rest
                    .find(heading)
                    .unwrap_or_else(|| panic!("{code} lacks {heading:?}"));
                rest = &rest[at + heading.len()..];
                let text = rest.split("\n## ").next().unwrap_or_default();
                assert!(text.trim().len() > 20, "{code}: nothing under {heading:?}");
            }
        }
    }
}
