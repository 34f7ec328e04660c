//! The terminal of `top`: the alternate screen, one table, and the keys that leave it.
//!
//! Whatever ends the command, the terminal is given back as it was.

use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Row as TableRow, Table};

use super::rates::{Rates, Row, TITLES};
use crate::{Failure, output};

/// The terminal while `top` has it.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It has no raw mode.
    pub(super) fn open() -> Result<Self, Failure> {
        let terminal = ratatui::try_init().map_err(|error| {
            Failure::new(format!(
                "the terminal can't be taken: {error}; `top --once` prints plain text"
            ))
        })?;
        Ok(Self { terminal })
    }

    /// Draws the picture, with `fault` over it if the bus does not answer.
    pub(super) fn draw(
        &mut self,
        rates: &Rates,
        url: &str,
        fault: Option<&str>,
    ) -> Result<(), Failure> {
        let coloured = output::coloured();
        self.terminal
            .draw(|frame| {
                let areas = Layout::vertical([Constraint::Length(3), Constraint::Min(1)]);
                let [head, body] = areas.areas(frame.area());
                let state = match fault {
                    Some(fault) => Line::from(output::plain(fault).into_owned())
                        .style(tint(coloured, Color::Red)),
                    None => Line::from(rates.head()),
                };
                let title = Line::from(format!("edgebus top  {url}  q quits")).bold();
                frame.render_widget(Text::from(vec![title, state]), head);
                frame.render_widget(table(rates, coloured), body);
            })
            .map_err(broken)?;
        Ok(())
    }

    /// Waits for `time`; true as soon as the user wants to leave.
    pub(super) async fn left_within(&mut self, time: Duration) -> Result<bool, Failure> {
        let waited = tokio::task::spawn_blocking(move || {
            let until = std::time::Instant::now() + time;
            loop {
                let left = until.saturating_duration_since(std::time::Instant::now());
                if !event::poll(left)? {
                    return Ok(false);
                }
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let interrupt = key.code == KeyCode::Char('c')
                            && key.modifiers.contains(KeyModifiers::CONTROL);
                        if interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                            return Ok(true);
                        }
                    }
                    // The picture is drawn anew for another size.
                    Event::Resize(..) => return Ok(false),
                    _ => {}
                }
            }
        });
        match waited.await {
            Ok(waited) => waited.map_err(broken),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(format!("the terminal does not answer: {error}"))
}

fn tint(coloured: bool, colour: Color) -> Style {
    if coloured {
        Style::new().fg(colour)
    } else {
        Style::new()
    }
}

fn table(rates: &Rates, coloured: bool) -> Table<'static> {
    let mut widths = vec![Constraint::Min(16)];
    widths.extend([Constraint::Length(10); 6]);
    let titles = TITLES
        .iter()
        .enumerate()
        .map(|(column, title)| Cell::from(Text::from(*title).alignment(side(column))));
    let rows = rates.rows.iter().map(|row| shown(row, coloured));
    Table::new(rows, widths)
        .header(TableRow::new(titles).style(Style::new().bold()))
        .column_spacing(1)
}

fn shown(row: &Row, coloured: bool) -> TableRow<'static> {
    let style = if row.failed > 0.0 {
        tint(coloured, Color::Red)
    } else if row.dead > 0 {
        tint(coloured, Color::Yellow)
    } else {
        Style::new()
    };
    let cells = row.cells();
    let cells = cells
        .into_iter()
        .enumerate()
        .map(|(column, text)| Cell::from(Text::from(text).alignment(side(column))));
    TableRow::new(cells.collect::<Vec<_>>()).style(style)
}

fn side(column: usize) -> Alignment {
    if column == 0 {
        Alignment::Left
    } else {
        Alignment::Right
    }
}
