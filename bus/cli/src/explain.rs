//! `edgebus explain`: the page of an error's code, from the binary itself; without a code, all of them.

use super::output::{self, Paint};
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
            // Nobody reads the output any more, so the command ends.
            if !output::print(&format!("{code}  {}", code.title())) {
                break;
            }
        }
        return Ok(OK);
    };
    let code = Code::find(text).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` is not an error code of this release; `edgebus explain` lists all codes",
            text.escape_debug()
        ))
    })?;
    let page = code.page().trim_end();
    match output::width() {
        Some(width) => output::print(&for_terminal(page, usize::from(width), output::paint())),
        None => output::print(page),
    };
    Ok(OK)
}

/// Blanks before the lines of a block of code.
const CODE_INDENT: &str = "    ";

/// A page of Markdown as a terminal shows it: headings stand out, paragraphs are broken between words, and
/// blocks of code are indented and stay as they are.
fn for_terminal(page: &str, columns: usize, paint: Paint) -> String {
    let mut out = Vec::new();
    let mut code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if code {
            out.push(format!("{CODE_INDENT}{line}"));
        } else if let Some(heading) = line.trim_start_matches('#').strip_prefix(' ')
            && line.starts_with('#')
        {
            out.push(paint.strong(heading));
        } else {
            let hang = if line.starts_with("- ") { 2 } else { 0 };
            out.push(output::wrapped_below(line, columns, hang));
        }
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_laid_out_for_a_terminal() {
        let page = "# EB0001: Title\n\n## How\nOne two three four.\n- five six seven\n```console\nedgebus fsck --data a-long-name\n```\n";
        assert_eq!(
            for_terminal(page, 14, Paint { on: false }),
            "EB0001: Title\n\nHow\nOne two three\nfour.\n- five six\n  seven\n    edgebus fsck --data a-long-name"
        );
        assert!(
            for_terminal(page, 14, Paint { on: true }).starts_with("\x1b[1mEB0001: Title\x1b[0m")
        );
    }
}
