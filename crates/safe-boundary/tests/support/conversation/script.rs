//! Random pipelines of a client: what a frame says, and the unique mark that its result shows.
//!
//! Promises: the same seed gives the same bytes; a text returns its own mark and no other text's.
//! Deliberately not here: what must come of it.

/// A small generator of numbers, so that a seed says all.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<'a>(&mut self, choice: &[&'a str]) -> &'a str {
        choice[self.below(choice.len())]
    }
}

/// What the pipelines may hold beside the everyday.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spice {
    /// DO blocks that change names where no proxy can see it.
    pub(crate) hidden: bool,
    /// What the server answers to otherwise than to a client of its own: a COPY that fails at once with its Sync sent
    /// early (how many ReadyForQuery then come is a matter of time), and calls that are denied.
    pub(crate) early_sync: bool,
    /// Statements that take a while, so that a cancel finds them running.
    pub(crate) slow: bool,
}

/// The bytes of a client.
pub(crate) struct Script {
    pub(crate) bytes: Vec<u8>,
    /// The same, for people.
    pub(crate) story: Vec<String>,
    dice: Dice,
    spice: Spice,
    marks: u32,
}

const LONG: &str = "a_name_that_is_longer_than_the_sixty_three_bytes_that_the_server_compares_";
const STATEMENTS: [&str; 4] = ["", "s1", "s2", "LONG"];
const PORTALS: [&str; 4] = ["", "", "p1", "p2"];

impl Script {
    pub(crate) fn random(seed: u64, spice: Spice) -> Self {
        let dice = Dice::new(seed);
        let mut script = Self { bytes: Vec::new(), story: Vec::new(), dice, spice, marks: 0 };
        script.query(
            "create temp table t (i int); create temp table d (i int unique deferrable initially deferred); \
                      create temp view v as select 1 as i; \
             create function pg_temp.say(m text) returns text language plpgsql as \
             $$ begin execute 'select $1' into m using m; return m; end $$",
        );
        for _ in 0..=script.dice.below(14) {
            script.unit();
        }
        script.frame(b'S', &[], "Sync");
        script.query("rollback");
        script.query("select 'the end'");
        script
    }

    fn mark(&mut self) -> String {
        self.marks += 1;
        format!("u{}x", self.marks)
    }

    pub(crate) fn frame(&mut self, tag: u8, body: &[u8], story: &str) {
        self.bytes.push(tag);
        self.bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        self.bytes.extend(body);
        self.story.push(story.to_owned());
    }

    fn query(&mut self, text: &str) {
        self.frame(b'Q', &[text.as_bytes(), &[0]].concat(), &format!("Query {text}"));
    }

    /// A name; long ones differ only behind what the server compares.
    fn name(&mut self, names: &[&'static str]) -> String {
        match self.dice.of(names) {
            "LONG" => format!("{LONG}{}", self.dice.below(3)),
            name => name.to_owned(),
        }
    }

    fn statement_name(&mut self) -> String {
        self.name(&STATEMENTS)
    }

    fn sql_name(&mut self, names: &[&'static str]) -> String {
        let name = self.name(names);
        let name = if name.is_empty() { "s1".to_owned() } else { name };
        if self.dice.one_in(3) { format!("\"{name}\"") } else { name.to_uppercase() }
    }

    /// Rows that show the mark, or an error that does.
    fn select(&mut self) -> String {
        let mark = self.mark();
        match self.dice.below(8) {
            0 => format!("select cast(g || '{mark}' as int) from generate_series(1, 1) g"),
            1 => format!("select {mark}"),
            2 | 3 => format!("select '{mark}' from generate_series(1, 3)"),
            4 => format!("/* deallocate s1 */ select '{mark}' as \"close\""),
            _ => format!("select '{mark}'"),
        }
    }

    fn text(&mut self) -> String {
        let text = match self.dice.below(30) {
            0 | 1 => "begin".to_owned(),
            2 => "commit".to_owned(),
            3 => "rollback".to_owned(),
            4 => String::new(),
            5 | 6 => format!("prepare {} as {}", self.sql_name(&["s1", "s2", "LONG"]), self.select()),
            7 => format!("deallocate {}", self.sql_name(&["s1", "s2", "LONG"])),
            8 => self.dice.of(&["deallocate all", "discard all", "discard plans", "close all"]).to_owned(),
            9 | 10 => {
                let hold = self.dice.of(&["", "", " with hold"]);
                let mark = self.mark();
                let name = self.sql_name(&["p1", "p2"]);
                format!("declare {name} cursor{hold} for select '{mark}' from generate_series(1, 3)")
            }
            11 => format!("close {}", self.sql_name(&["p1", "p2"])),
            12 => "insert into d values (1)".to_owned(),
            13 => format!("copy (select '{}') to stdout", self.mark()),
            14 => format!("execute {}", self.sql_name(&["s1", "s2", "LONG"])),
            15 => format!("select pg_temp.say('{}')", self.mark()),
            18 => format!("copy (select cast(g || '{}' as int) from generate_series(1, 1) g) to stdout", self.mark()),
            19..=22 if self.spice.slow => format!("select '{}' from pg_sleep(0.01)", self.mark()),
            16 if self.spice.hidden => {
                let (name, mark) = (self.dice.of(&["s1", "s2"]), self.mark());
                let end = self.dice.of(&["", "raise exception 'late';"]);
                format!(
                    "do $$ begin if exists (select from pg_prepared_statements where name = '{name}') then \
                     execute 'dealloc' || 'ate {name}'; end if; \
                     execute 'pre' || 'pare {name} as select ''{mark}'''; {end} end $$"
                )
            }
            17 if self.spice.hidden => {
                format!("select 'u0x' from t where 'close {}' = ''", self.dice.of(&["p1", "p2"]))
            }
            _ => self.select(),
        };
        // A view on what stands in the way of reading it.
        if self.dice.one_in(12) { format!("/* ; ' /* */ \" */ {text} -- ' \" $$") } else { text }
    }

    fn parse(&mut self, name: &str, text: &str) {
        let body = [name.as_bytes(), &[0], text.as_bytes(), &[0, 0, 0]].concat();
        self.frame(b'P', &body, &format!("Parse {name:?} {text}"));
    }

    fn bind(&mut self, portal: &str, statement: &str) {
        let body = [portal.as_bytes(), &[0], statement.as_bytes(), &[0; 7]].concat();
        self.frame(b'B', &body, &format!("Bind {portal:?} {statement:?}"));
    }

    fn execute(&mut self, portal: &str, limit: u8) {
        let body = [portal.as_bytes(), &[0, 0, 0, 0, limit]].concat();
        self.frame(b'E', &body, &format!("Execute {portal:?} {limit}"));
    }

    fn about(&mut self, tag: u8) {
        let (kind, name) =
            if self.dice.one_in(2) { (b'S', self.statement_name()) } else { (b'P', self.name(&PORTALS)) };
        let body = [&[kind], name.as_bytes(), &[0]].concat();
        self.frame(tag, &body, &format!("{} {} {name:?}", char::from(tag), char::from(kind)));
    }

    fn extended(&mut self) {
        match self.dice.below(16) {
            0..=3 => {
                let (name, text) = (self.statement_name(), self.text());
                self.parse(&name, &text);
            }
            4 | 5 => {
                let (portal, name) = (self.name(&PORTALS), self.statement_name());
                self.bind(&portal, &name);
            }
            6 | 7 => {
                let (portal, limit) = (self.name(&PORTALS), [0, 0, 1, 2][self.dice.below(4)]);
                self.execute(&portal, limit);
            }
            8 => self.about(b'D'),
            9 => self.about(b'C'),
            10 => self.frame(b'H', &[], "Flush"),
            11 | 12 => {
                let (portal, name) = (self.name(&PORTALS), self.statement_name());
                self.bind(&portal, &name);
                self.execute(&portal, 0);
            }
            _ => {
                let (name, portal, text) = (self.statement_name(), self.name(&PORTALS), self.text());
                self.parse(&name, &text);
                self.bind(&portal, &name);
                self.execute(&portal, 0);
            }
        }
    }

    fn copy_data(&mut self) {
        for _ in 0..self.dice.below(4) {
            let data = self.dice.of(&["1\n", "2\n3\n", "", "4\n"]);
            self.frame(b'd', data.as_bytes(), "CopyData");
        }
        if self.dice.one_in(4) {
            self.frame(b'd', b"not a number\n", "CopyData, bad");
            self.frame(b'd', b"5\n", "CopyData");
        }
        if self.dice.one_in(8) {
            self.frame(b'H', &[], "Flush");
        }
        if self.dice.one_in(4) {
            self.frame(b'f', b"no more\0", "CopyFail");
        } else {
            self.frame(b'c', &[], "CopyDone");
        }
    }

    fn copy(&mut self) {
        let target = self.dice.of(&["t", "t", "v", "nowhere"]);
        let text = format!("copy {target} from stdin");
        if self.dice.one_in(2) {
            let (more, mark) = (self.dice.one_in(2), self.mark());
            let text = if more { format!("{text}; select '{mark}'; {text}") } else { text };
            self.query(&text);
            self.copy_data();
            if more {
                self.copy_data();
            }
        } else {
            // Names of its own, so that nothing else runs it where no data follows.
            self.frame(b'C', b"Scopy\0", "C S \"copy\"");
            self.frame(b'C', b"Pcopy\0", "C P \"copy\"");
            self.parse("copy", &text);
            self.bind("copy", "copy");
            self.execute("copy", 0);
            if self.spice.early_sync || (target == "t" && self.dice.one_in(2)) {
                self.frame(b'S', &[], "Sync, early");
                // Such a client always has data: without, how many ReadyForQuery come is a matter of time.
                self.frame(b'd', b"6\n", "CopyData");
            }
            self.copy_data();
            self.frame(b'S', &[], "Sync");
        }
    }

    /// Calls by number: `lo_creat`, `lo_unlink` of what there is not, and one that is denied.
    fn function(&mut self) {
        let (oid, name) = match self.dice.below(3) {
            0 => (957_u32, "lo_creat"),
            1 if self.spice.early_sync => (177, "int4pl"),
            _ => (964, "lo_unlink"),
        };
        let mut body = oid.to_be_bytes().to_vec();
        body.extend([0, 1, 0, 1, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 1]);
        self.frame(b'F', &body, &format!("FunctionCall {name}(1)"));
    }

    /// Groups of a frame or two about one name, all sent before the first is answered (docs/threats.md a17b).
    fn quarrel(&mut self) {
        let (name, portal) = (self.statement_name(), self.name(&PORTALS));
        for _ in 0..3 + self.dice.below(6) {
            match self.dice.below(10) {
                0..=2 => {
                    let text = self.select();
                    self.parse(&name, &text);
                }
                8 if !name.is_empty() => {
                    let text = format!("deallocate \"{name}\"; prepare \"{name}\" as {}", self.select());
                    self.query(&text);
                }
                8 | 9 => {
                    let text = match self.dice.below(3) {
                        0 if !name.is_empty() => format!("prepare \"{name}\" as {}", self.select()),
                        1 if !name.is_empty() => format!("deallocate \"{name}\""),
                        _ => "deallocate all".to_owned(),
                    };
                    self.parse("s3", &text);
                    self.bind("p3", "s3");
                    self.execute("p3", 0);
                    self.frame(b'C', b"Ss3\0", "C S \"s3\"");
                    self.frame(b'C', b"Pp3\0", "C P \"p3\"");
                }
                3 => self.frame(b'C', &[b"S", name.as_bytes(), &[0]].concat(), &format!("C S {name:?}")),
                4 => self.bind(&portal, &name),
                5 => self.execute(&portal, 1),
                _ => {
                    self.bind("", &name);
                    self.execute("", 0);
                }
            }
            if !self.dice.one_in(3) {
                self.frame(b'S', &[], "Sync");
            }
        }
    }

    /// A portal that is run on and on, a row or two at a time, with other things between.
    fn limited(&mut self) {
        if self.dice.one_in(2) {
            self.query("begin");
        }
        self.frame(b'C', b"Ss4\0", "C S \"s4\"");
        self.frame(b'C', b"Pp4\0", "C P \"p4\"");
        let text = format!("select '{}' from generate_series(1, 3)", self.mark());
        self.parse("s4", &text);
        self.bind("p4", "s4");
        for _ in 0..=self.dice.below(4) {
            let limit = [1, 2, 2, 0][self.dice.below(4)];
            self.execute("p4", limit);
            match self.dice.below(6) {
                0 => self.frame(b'H', &[], "Flush"),
                1 => self.frame(b'S', &[], "Sync"),
                2 => self.extended(),
                _ => {}
            }
        }
        self.frame(b'S', &[], "Sync");
    }

    fn unit(&mut self) {
        match self.dice.below(15) {
            14 => self.limited(),
            12 | 13 => self.quarrel(),
            0 => {
                // Only here: out of a portal that was made under the savepoint, ROLLBACK TO brings PostgreSQL 15 down.
                let text = if self.dice.one_in(2) {
                    self.dice.of(&["begin; savepoint a", "savepoint a", "rollback to a"]).to_owned()
                } else {
                    self.text()
                };
                self.query(&text);
            }
            1 | 2 => {
                let texts: Vec<String> = (0..=self.dice.below(3)).map(|_| self.text()).collect();
                self.query(&texts.join(";"));
            }
            3 => self.function(),
            4 | 5 => {
                // Not inside of an error: what comes of the data then would be a matter of time.
                self.frame(b'S', &[], "Sync");
                self.copy();
            }
            _ => {
                for _ in 0..=self.dice.below(8) {
                    self.extended();
                }
                if !self.dice.one_in(8) {
                    self.frame(b'S', &[], "Sync");
                }
            }
        }
    }
}
