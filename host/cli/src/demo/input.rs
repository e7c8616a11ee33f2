use std::io::{BufReader, Read, Result};

use loan::simulation::Simulation;

use crate::file::Input;

/// The lines of a simulation, generated while they are read.
pub fn simulated(seed: u64, commands: u64) -> Input {
    let lines = Lines {
        simulation: Simulation::new(seed, commands),
        line: Vec::new(),
        read: 0,
    };
    Input {
        reader: Box::new(BufReader::with_capacity(1 << 16, lines)),
        digest: format!("simulation-{seed}-{commands}"),
        batch: format!("simulation-{seed}-{commands}"),
        lines: Some(commands),
    }
}

struct Lines {
    simulation: Simulation,
    line: Vec<u8>,
    /// Bytes of the line that have been read.
    read: usize,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.read == self.line.len() {
            let Some(line) = self.simulation.next() else {
                return Ok(0);
            };
            self.line = line.to_json().into_bytes();
            self.line.push(b'\n');
            self.read = 0;
        }
        let count = buffer.len().min(self.line.len() - self.read);
        buffer[..count].copy_from_slice(&self.line[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}
