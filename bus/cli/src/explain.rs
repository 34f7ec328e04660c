//! `edgebus explain`: the page of an error's code, from the binary itself; without a code, all of them.

use super::output;
use super::{Failure, OK};
use edgebus_model::Code;

/// Arguments of `explain`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  edgebus explain EB0201      the page of one error
  edgebus explain             all codes, one a line")]
pub(super) struct Arguments {
    /// The code, as `error[EB0201]` on the command line and `code` in a problem document show it.
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let Some(text) = &arguments.code else {
        for code in Code::ALL {
            // Nobody reads on: that is an end as good as another.
            if !output::print(&format!("{code}  {}", code.title())) {
                break;
            }
        }
        return Ok(OK);
    };
    let code = Code::find(text).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` is no error code of this release; `edgebus explain` lists them all",
            text.escape_debug()
        ))
    })?;
    output::print(code.page().trim_end());
    Ok(OK)
}
