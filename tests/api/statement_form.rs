//! The form of a statement, as far as a distributed database depends on it: the tables of customers
//! that it names, whether each is bound to one customer, the columns that it sets, and its locks.
//!
//! Reads the statements that the service executes, no SQL in general.

use std::collections::{BTreeMap, BTreeSet};

pub const CUSTOMER_NUMBER: &str = "customer_number";
/// Words that end a table's name and are no alias of it.
const NO_ALIAS: &[&str] = &[
    "cross",
    "do",
    "for",
    "full",
    "group",
    "inner",
    "join",
    "left",
    "limit",
    "on",
    "order",
    "returning",
    "right",
    "select",
    "set",
    "union",
    "using",
    "values",
    "where",
    "with",
];
const ENDS_SET: &[&str] = &["from", "returning", "where"];

/// A word, `$`, `=`, `.`, `,`, a parenthesis, or `?` for a literal.
type Token = String;

/// Splits a statement into tokens in lower case, without types of casts.
pub fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            '"' => {
                let end = rest[1..].find('"').unwrap() + 1;
                tokens.push(rest[1..end].to_lowercase());
                end + 1
            }
            '\'' => {
                tokens.push("?".to_owned());
                rest[1..].find('\'').unwrap() + 2
            }
            '$' => {
                tokens.push("$".to_owned());
                1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1)
            }
            ':' if rest.starts_with("::") => {
                let of_type = |c: char| is_word(c) || matches!(c, '[' | ']');
                2 + rest[2..].find(|c| !of_type(c)).unwrap_or(rest.len() - 2)
            }
            first if is_word(first) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                tokens.push(rest[..end].to_lowercase());
                end
            }
            first => {
                tokens.push(first.to_string());
                first.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    tokens
}

/// A column: the alias of its table, if it is named, and the parentheses that it is in.
type Column = (Option<String>, usize);

/// A table of a statement, with the parentheses that it is in.
struct Relation {
    table: String,
    alias: String,
    scope: usize,
    is_bound: bool,
    /// The column that an insertion selects as the customer number.
    source: Option<Column>,
}

/// A statement as the rules see it.
pub struct Form {
    tokens: Vec<Token>,
    /// The innermost parentheses of each token: the place of the opening one, or 0.
    scopes: Vec<usize>,
    relations: Vec<Relation>,
    /// The columns that an update sets, by table.
    pub sets: BTreeMap<String, Vec<String>>,
    /// True if the statement locks rows that it reads.
    pub locks: bool,
}

impl Form {
    /// Reads a statement; `tables` are those that are distributed by customer.
    pub fn of(sql: &str, tables: &BTreeSet<&str>) -> Self {
        let tokens = tokens(sql);
        let mut form = Self {
            scopes: scopes(&tokens),
            relations: Vec::new(),
            sets: BTreeMap::new(),
            locks: false,
            tokens,
        };
        form.read_relations(tables);
        form.read_conditions();
        form
    }

    /// The tables that no customer is named for.
    pub fn unbound(&self) -> Vec<&str> {
        let unbound = self.relations.iter().filter(|relation| !relation.is_bound);
        unbound.map(|relation| relation.table.as_str()).collect()
    }

    fn at(&self, place: usize) -> &str {
        self.tokens.get(place).map_or("", String::as_str)
    }

    fn read_relations(&mut self, tables: &BTreeSet<&str>) {
        let mut inserted = String::new();
        for place in 0..self.tokens.len() {
            let before = place.checked_sub(1).map_or("", |before| self.at(before));
            match self.at(place) {
                "for" => {
                    self.locks |= matches!(self.at(place + 1), "update" | "share" | "no" | "key");
                }
                "update" if before == "do" => self.read_set(&inserted.clone(), place + 1),
                "update" if matches!(before, "for" | "key") => {}
                "update" => {
                    let (table, _, end) = self.read_name(place + 1);
                    self.read_set(&table, end);
                    self.add_relations(place + 1, tables);
                }
                "into" => {
                    let (table, alias, end) = self.read_name(place + 1);
                    inserted.clone_from(&table);
                    if tables.contains(table.as_str()) {
                        let (is_bound, source) = self.inserted_number(end);
                        let scope = self.scopes[place];
                        self.relations.push(Relation {
                            table,
                            alias,
                            scope,
                            is_bound,
                            source,
                        });
                    }
                }
                "from" | "join" if before != "distinct" => self.add_relations(place + 1, tables),
                _ => {}
            }
        }
    }

    /// Adds a table and those after it, separated by commas.
    fn add_relations(&mut self, start: usize, tables: &BTreeSet<&str>) {
        let mut start = start;
        loop {
            let (table, alias, end) = self.read_name(start);
            if tables.contains(table.as_str()) {
                self.relations.push(Relation {
                    table,
                    alias,
                    scope: self.scopes[start],
                    is_bound: false,
                    source: None,
                });
            }
            if self.at(end) != "," {
                return;
            }
            start = end + 1;
        }
    }

    /// Reads a table's name and its alias, and returns the place after them.
    fn read_name(&self, start: usize) -> (String, String, usize) {
        let mut place = start + usize::from(self.at(start) == "only");
        if self.at(place + 1) == "." {
            place += 2;
        }
        let table = self.at(place).to_owned();
        place += 1;
        let is_name = |word: &str| word.starts_with(|c: char| c.is_alphabetic());
        if self.at(place) == "as" {
            place += 1;
        } else if !is_name(self.at(place)) || NO_ALIAS.contains(&self.at(place)) {
            return (table.clone(), table, place);
        }
        (table, self.at(place).to_owned(), place + 1)
    }

    /// Reads the columns that are set, after the table's name.
    fn read_set(&mut self, table: &str, start: usize) {
        let scope = self.scopes[start];
        let mut columns = Vec::new();
        for place in start..self.tokens.len() {
            if self.scopes[place] != scope {
                continue;
            }
            if ENDS_SET.contains(&self.at(place)) {
                break;
            }
            if matches!(self.at(place), "set" | ",") && self.at(place + 2) == "=" {
                columns.push(self.at(place + 1).to_owned());
            }
        }
        let sets = self.sets.entry(table.to_owned()).or_default();
        sets.extend(columns);
    }

    /// Returns true if an insertion has values or selects a value as the customer number, and else
    /// the column that it selects. `start` is the place of its list of columns.
    fn inserted_number(&self, start: usize) -> (bool, Option<Column>) {
        let inside = |start: usize| {
            let scope = self.scopes[start];
            (start..self.tokens.len()).take_while(move |place| self.scopes[*place] >= scope)
        };
        let own = inside(start + 1)
            .filter(|place| !matches!(self.at(*place), "," | ")"))
            .position(|place| self.at(place) == CUSTOMER_NUMBER);
        let end = inside(start + 1).last().map_or(start, |last| last + 2);
        let (Some(own), "values" | "select") = (own, self.at(end)) else {
            return (false, None);
        };
        if self.at(end) == "values" {
            return (true, None);
        }
        let scope = self.scopes[end];
        let (mut item, mut place) = (0, end + 1);
        while item < own && place < self.tokens.len() {
            item += usize::from(self.at(place) == "," && self.scopes[place] == scope);
            place += 1;
        }
        let column = place + if self.at(place + 1) == "." { 2 } else { 0 };
        let source = (self.at(column) == CUSTOMER_NUMBER).then(|| self.column_at(column));
        (self.at(place) == "$", source)
    }

    fn read_conditions(&mut self) {
        let mut links = Vec::new();
        for place in 0..self.tokens.len() {
            if self.at(place) != CUSTOMER_NUMBER {
                continue;
            }
            let own = self.column_at(place);
            if self.names_one_customer(place + 1) {
                self.bind(&own);
            } else if self.at(place + 1) == "=" {
                let other = place + if self.at(place + 3) == "." { 4 } else { 2 };
                let other_column = self.column_at(other);
                if self.at(other) == CUSTOMER_NUMBER && self.are_joined(&own, &other_column) {
                    links.push((own, other_column));
                }
            }
        }
        // As often as there may be tables in a row.
        for _ in 0..links.len() {
            for (one, other) in &links {
                if self.is_bound(one) || self.is_bound(other) {
                    self.bind(one);
                    self.bind(other);
                }
            }
        }
        for place in 0..self.relations.len() {
            let source = self.relations[place].source.clone();
            self.relations[place].is_bound |= source.is_some_and(|source| self.is_bound(&source));
        }
    }

    fn column_at(&self, place: usize) -> Column {
        let is_qualified = place >= 2 && self.at(place - 1) == ".";
        let alias = is_qualified.then(|| self.at(place - 2).to_owned());
        (alias, self.scopes[place])
    }

    /// Returns true if a value follows: `= $1`, `= ANY ($1)` or `IN ($1)`.
    fn names_one_customer(&self, place: usize) -> bool {
        let is_value = |place: usize| matches!(self.at(place), "$" | "?");
        let is_list = |place: usize| {
            self.at(place) == "(" && is_value(place + 1) && self.at(place + 2) == ")"
        };
        match (self.at(place), self.at(place + 1)) {
            ("=", "any") => is_list(place + 2),
            ("=", _) => is_value(place + 1),
            ("in", _) => is_list(place + 1),
            _ => false,
        }
    }

    fn bind(&mut self, (alias, scope): &Column) {
        let scopes = self.enclosing(*scope);
        let applies = |relation: &Relation| match alias {
            Some(alias) => relation.alias == *alias,
            None => scopes.first() == Some(&relation.scope),
        };
        for relation in &mut self.relations {
            relation.is_bound |= applies(relation);
        }
    }

    fn is_bound(&self, column: &Column) -> bool {
        let relation = self.relation_of(column);
        relation.is_some_and(|relation| relation.is_bound)
    }

    /// Returns true unless one column is of a table outside the query of the other: Citus does not pass
    /// the customer on to a correlated subquery, and so asks all shards.
    fn are_joined(&self, one: &Column, other: &Column) -> bool {
        let scope = |column| self.relation_of(column).map(|relation| relation.scope);
        match (scope(one), scope(other)) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    fn relation_of(&self, (alias, _): &Column) -> Option<&Relation> {
        let is_it = |relation: &&Relation| Some(&relation.alias) == alias.as_ref();
        self.relations.iter().find(is_it)
    }

    /// The parentheses around these that have tables, from the inside.
    fn enclosing(&self, scope: usize) -> Vec<usize> {
        let (mut scope, mut found) = (scope, Vec::new());
        loop {
            if self
                .relations
                .iter()
                .any(|relation| relation.scope == scope)
            {
                found.push(scope);
            }
            if scope == 0 {
                return found;
            }
            // The opening parenthesis itself is outside.
            scope = self.scopes[scope];
        }
    }
}

/// The innermost parentheses of each token. A parenthesis belongs to those around it.
fn scopes(tokens: &[Token]) -> Vec<usize> {
    let mut open = vec![0];
    let mut scopes = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.iter().enumerate() {
        if token == ")" {
            open.pop();
        }
        scopes.push(*open.last().unwrap());
        if token == "(" {
            open.push(place);
        }
    }
    scopes
}
