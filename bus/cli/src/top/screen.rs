//! The terminal of `top`: the alternate screen, one table, and the keys that leave it.
//!
//! The terminal is restored however the command ends.

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
    /// Rows that are scrolled away at the top.
    offset: usize,
    /// Rows that the last picture had room for.
    room: usize,
}

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// To leave.
    Quit,
    /// The picture anew: it was scrolled, or the terminal has another size.
    Draw,
    /// Another order.
    Sort,
}

/// Columns that are left out where names need their room, the first one first.
const LEFT_OUT: [usize; 2] = [4, 3];

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
        Ok(Self {
            terminal,
            offset: 0,
            room: 0,
        })
    }

    /// Draws the picture, with `error` over it if the bus does not answer.
    pub(super) fn draw(
        &mut self,
        rates: &Rates,
        url: &str,
        error: Option<&str>,
    ) -> Result<(), Failure> {
        let coloured = output::coloured();
        let (offset, room) = (&mut self.offset, &mut self.room);
        self.terminal
            .draw(|frame| {
                let areas = Layout::vertical([Constraint::Length(3), Constraint::Min(1)]);
                let [head, body] = areas.areas(frame.area());
                // One line is the titles.
                *room = usize::from(body.height.saturating_sub(1));
                *offset = (*offset).min(rates.rows.len().saturating_sub(*room));
                let state = match error {
                    Some(error) => Line::from(output::plain(error).into_owned())
                        .style(tint(coloured, Color::Red)),
                    None => Line::from(rates.head()),
                };
                let title = Line::from(format!(
                    "edgebus top  {url}  q quits, arrows scroll, s sorts"
                ));
                let place = Line::from(place(*offset, *room, rates.rows.len()));
                frame.render_widget(Text::from(vec![title.bold(), state, place]), head);
                let rows = rates.rows.iter().skip(*offset).take(*room);
                frame.render_widget(table(rates, rows, usize::from(body.width), coloured), body);
            })
            .map_err(broken)?;
        Ok(())
    }

    /// Waits for `time`; what was asked for, if it was before that.
    pub(super) async fn asked_within(&mut self, time: Duration) -> Result<Option<Asked>, Failure> {
        let waited = tokio::task::spawn_blocking(move || {
            let until = std::time::Instant::now() + time;
            loop {
                let left = until.saturating_duration_since(std::time::Instant::now());
                if !event::poll(left)? {
                    return Ok(None);
                }
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let interrupt = key.code == KeyCode::Char('c')
                            && key.modifiers.contains(KeyModifiers::CONTROL);
                        return Ok(Some(match interrupt {
                            true => KeyCode::Esc,
                            false => key.code,
                        }));
                    }
                    // The picture is drawn anew for another size.
                    Event::Resize(..) => return Ok(Some(KeyCode::Null)),
                    _ => {}
                }
            }
        });
        let key = match waited.await {
            Ok(waited) => waited.map_err(broken)?,
            Err(error) => return Err(Failure::new(error.to_string())),
        };
        Ok(key.map(|key| self.pressed(key)))
    }

    fn pressed(&mut self, key: KeyCode) -> Asked {
        let page = self.room.max(1);
        self.offset = match key {
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Quit,
            KeyCode::Char('s') => return Asked::Sort,
            KeyCode::Up | KeyCode::Char('k') => self.offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.offset + 1,
            KeyCode::PageUp => self.offset.saturating_sub(page),
            KeyCode::PageDown | KeyCode::Char(' ') => self.offset + page,
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => self.offset,
        };
        Asked::Draw
    }
}

/// Which rows are shown, where not all are.
fn place(offset: usize, room: usize, rows: usize) -> String {
    if rows <= room {
        return String::new();
    }
    let last = (offset + room).min(rows);
    format!("rows {} to {last} of {rows}", offset + 1)
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

fn table<'r>(
    rates: &Rates,
    rows: impl Iterator<Item = &'r Row>,
    width: usize,
    coloured: bool,
) -> Table<'static> {
    let widths = widths(rates, width);
    let titles = widths
        .iter()
        .map(|(column, _)| Cell::from(Text::from(TITLES[*column]).alignment(side(*column))));
    let titles = TableRow::new(titles).style(Style::new().bold());
    let rows = rows.map(|row| shown(row, &widths, coloured));
    let constraints = widths.iter().map(|(column, width)| match column {
        0 => Constraint::Min(*width),
        _ => Constraint::Length(*width),
    });
    Table::new(rows, constraints)
        .header(titles)
        .column_spacing(1)
}

/// The columns that are shown, each with its width: some are left out where the longest name would be cut.
fn widths(rates: &Rates, width: usize) -> Vec<(usize, u16)> {
    let mut widths: Vec<usize> = TITLES.iter().map(|title| title.len()).collect();
    for row in &rates.rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(output::columns(&cell));
        }
    }
    let mut shown: Vec<usize> = (0..TITLES.len()).collect();
    for left_out in LEFT_OUT {
        let gaps = shown.len() - 1;
        if shown.iter().map(|column| widths[*column]).sum::<usize>() + gaps > width {
            shown.retain(|column| *column != left_out);
        }
    }
    let bounded = |column: usize| u16::try_from(widths[column]).unwrap_or(u16::MAX);
    let shown = shown.into_iter().map(|column| (column, bounded(column)));
    shown.collect()
}

fn shown(row: &Row, widths: &[(usize, u16)], coloured: bool) -> TableRow<'static> {
    let style = if row.failed > 0.0 {
        tint(coloured, Color::Red)
    } else if row.dead > 0 {
        tint(coloured, Color::Yellow)
    } else {
        Style::new()
    };
    let cells = row.cells();
    let cells = widths
        .iter()
        .map(|(column, _)| Cell::from(Text::from(cells[*column].clone()).alignment(side(*column))));
    TableRow::new(cells.collect::<Vec<_>>()).style(style)
}

fn side(column: usize) -> Alignment {
    if column == 0 {
        Alignment::Left
    } else {
        Alignment::Right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_and_rows_that_are_not_shown_are_counted() {
        let row = |name: &str| Row {
            name: name.to_owned(),
            succeeded: 1.0,
            failed: 0.0,
            run_us: Some(500.0),
            in_memory: 3,
            lag_ms: None,
            dead: 0,
        };
        let rates = Rates {
            rows: vec![row("greetings/board"), row(&"long/".repeat(9))],
            accepted: 0.0,
            duplicates: 0.0,
            refused: 0.0,
        };
        let columns = |width| -> Vec<usize> {
            let widths = widths(&rates, width);
            widths.iter().map(|(column, _)| *column).collect()
        };
        assert_eq!(columns(120), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(columns(80), [0, 1, 2, 3, 5, 6]);
        assert_eq!(columns(60), [0, 1, 2, 5, 6]);
        assert_eq!(place(0, 11, 100), "rows 1 to 11 of 100");
        assert_eq!(place(95, 11, 100), "rows 96 to 100 of 100");
        assert_eq!(place(0, 11, 11), "");
    }
}
