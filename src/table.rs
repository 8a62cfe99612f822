//! One look for all tables: a rule above, below and under the header, numbers on the right.

use comfy_table::{CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};

/// A table with these columns; `left` are those that hold text.
pub(crate) fn new(header: &[&str], left: &[usize]) -> Table {
    let rule = || LineStyle::none().fill('─').junction('─');
    let style = TableStyle::new()
        .top_border(rule())
        .header_lines(ContentLineStyle::none())
        .header_separator(rule())
        .content_lines(ContentLineStyle::none())
        .bottom_border(rule());
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.iter().copied());
    for (index, column) in table.column_iter_mut().enumerate() {
        if !left.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding((0, if index + 1 == header.len() { 0 } else { 2 }));
    }
    table
}
