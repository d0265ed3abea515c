//! The order so far and the state it leads to: how operations enter it and leave it again.

use super::super::cell::{Cell, fingerprint};
use super::super::links::Links;
use super::super::problem::Problem;
use super::super::steps::{Action, Map, Set, Step};
use super::{Search, Touch, call, ret};

impl<'a> Search<'a> {
    pub(in super::super) fn new(problem: &'a Problem) -> Self {
        let count = problem.ops.len();
        let mut search = Self {
            problem,
            touches: Vec::with_capacity(count),
            twins: problem.twins(),
            sights: Map::default(),
            waiting: Vec::new(),
            state: vec![Cell::Absent; problem.keys.len()],
            placed: vec![false; count],
            print: 0,
            undo: Vec::new(),
            order: Vec::with_capacity(count),
            events: Links::new(1 + 2 * count),
            writers: Links::new(0),
            writer_ops: vec![0; problem.keys.len()],
            candidates: Vec::new(),
            frames: Vec::new(),
            choices: Vec::new(),
            been: Set::default(),
            farthest: None,
        };
        search.line_up_events();
        search.line_up_touches();
        search
    }

    fn line_up_events(&mut self) {
        let mut nodes = Vec::with_capacity(2 * self.problem.ops.len());
        for (place, op) in self.problem.ops.iter().enumerate() {
            nodes.push((op.invoked, call(place as u32)));
            if op.required() {
                nodes.push((op.deadline, ret(place as u32)));
            }
        }
        nodes.sort_unstable();
        for (_, node) in nodes {
            self.events.push(0, node);
        }
    }

    fn line_up_touches(&mut self) {
        for (place, op) in self.problem.ops.iter().enumerate() {
            let mut touches: Vec<Touch> = Vec::new();
            for step in &op.steps {
                let known = touches.iter().position(|touch| touch.key == step.key);
                let touch = known.unwrap_or(touches.len());
                if known.is_none() {
                    touches.push(Touch {
                        key: step.key,
                        sight: None,
                        writer: None,
                    });
                }
                if step.action.writes() && touches[touch].writer.is_none() {
                    touches[touch].writer = Some(self.writer_ops.len() as u32);
                    self.writer_ops.push(place as u32);
                }
            }
            for sight in op.sights(&self.problem.keys) {
                let next = self.waiting.len() as u32;
                let number = *self.sights.entry(sight).or_insert(next);
                if number == next {
                    self.waiting.push((0, 0));
                }
                let waiting = &mut self.waiting[number as usize];
                waiting.0 += u32::from(op.required());
                waiting.1 += 1;
                for touch in touches.iter_mut().filter(|touch| touch.key == sight.key) {
                    touch.sight = Some(number);
                }
            }
            self.touches.push(touches);
        }
        self.writers = Links::new(self.writer_ops.len());
        for touch in self.touches.iter().flatten() {
            if let Some(node) = touch.writer {
                self.writers.push(touch.key, node);
            }
        }
    }

    /// Takes the steps of `op`; tells where its undoing begins, or the step that fails.
    pub(super) fn apply(&mut self, op: u32) -> Result<usize, Step> {
        let start = self.undo.len();
        for step in &self.problem.ops[op as usize].steps {
            let cell = self.state[step.key as usize];
            let fits = match step.action {
                Action::Expect(expected) => cell == expected,
                Action::Differ(other) => cell != other,
                Action::Present => cell != Cell::Absent,
                Action::Length(len) => cell.len() == Some(len),
                Action::AtLeast(len) => cell.len().is_some_and(|present| present >= len),
                Action::Never => false,
                Action::Put(_) | Action::PutIf(..) | Action::Remove => true,
                Action::Incr | Action::Append(_) => true,
            };
            let written = match step.action {
                Action::Put(cell) => Some(cell),
                Action::PutIf(expected, cell_then) => (cell == expected).then_some(cell_then),
                Action::Remove => Some(Cell::Absent),
                Action::Incr => Some(cell.increment().unwrap_or(cell)),
                Action::Append(element) => Some(cell.append(element).unwrap_or(cell)),
                _ => None,
            };
            if !fits {
                self.roll_back(start);
                return Err(*step);
            }
            if let Some(written) = written {
                self.undo.push((step.key, cell));
                self.state[step.key as usize] = written;
            }
        }
        Ok(start)
    }

    pub(super) fn roll_back(&mut self, start: usize) {
        for (key, cell) in self.undo.drain(start..).rev() {
            self.state[key as usize] = cell;
        }
    }

    /// Fixes `op`, just applied, as the next in the order.
    pub(super) fn place(&mut self, op: u32, start: usize) {
        for place in start..self.undo.len() {
            let (key, before) = self.undo[place];
            // The cell after this write is what the next write of the key found, or the present one.
            let later = self.undo[place + 1..]
                .iter()
                .find(|(other, _)| *other == key);
            let after = later.map_or(self.state[key as usize], |&(_, cell)| cell);
            self.print ^= before.fingerprint(key) ^ after.fingerprint(key);
        }
        self.mark(op, true);
        if self.problem.ops[op as usize].required() {
            self.events.remove(ret(op));
        }
        self.events.remove(call(op));
        for touch in &self.touches[op as usize] {
            if let Some(node) = touch.writer {
                self.writers.remove(node);
            }
        }
        self.order.push((op, start));
    }

    /// Takes the last operation out of the order again.
    pub(super) fn displace(&mut self) {
        let Some((op, start)) = self.order.pop() else {
            return;
        };
        for touch in self.touches[op as usize].iter().rev() {
            if let Some(node) = touch.writer {
                self.writers.restore(node);
            }
        }
        self.events.restore(call(op));
        if self.problem.ops[op as usize].required() {
            self.events.restore(ret(op));
        }
        self.mark(op, false);
        for (key, before) in self.undo.drain(start..).rev() {
            let after = std::mem::replace(&mut self.state[key as usize], before);
            self.print ^= before.fingerprint(key) ^ after.fingerprint(key);
        }
    }

    fn mark(&mut self, op: u32, placed: bool) {
        self.placed[op as usize] = placed;
        self.print ^= fingerprint(u64::from(op), u64::MAX, u64::MAX);
        let required = u32::from(self.problem.ops[op as usize].required());
        for sight in self.touches[op as usize]
            .iter()
            .filter_map(|touch| touch.sight)
        {
            let (needed, any) = &mut self.waiting[sight as usize];
            if placed {
                *needed -= required;
                *any -= 1;
            } else {
                *needed += required;
                *any += 1;
            }
        }
    }
}
