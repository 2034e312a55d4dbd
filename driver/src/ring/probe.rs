//! Which opcodes the ring carries out.

use io_uring::Probe;

/// The set of opcodes a ring carries out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Support {
    bits: [u64; 4],
}

impl Support {
    /// Nothing is supported.
    pub(super) fn none() -> Support {
        Support { bits: [0; 4] }
    }

    /// What the kernel says it supports (`IORING_REGISTER_PROBE`), less `without`.
    pub(super) fn from_probe(probe: &Probe, without: &[u8]) -> Support {
        let mut support = Support::none();
        for opcode in 0..=u8::MAX {
            if probe.is_supported(opcode) && !without.contains(&opcode) {
                support.bits[usize::from(opcode / 64)] |= 1 << (opcode % 64);
            }
        }
        support
    }

    /// The opcodes of a list, less `without`.
    pub(super) fn of(opcodes: &[u8], without: &[u8]) -> Support {
        let mut support = Support::none();
        for opcode in opcodes.iter().filter(|opcode| !without.contains(opcode)) {
            support.bits[usize::from(opcode / 64)] |= 1 << (opcode % 64);
        }
        support
    }

    /// Whether the opcode (an `IORING_OP_*` number) is carried out.
    #[inline]
    pub(crate) fn has(&self, opcode: u8) -> bool {
        self.bits[usize::from(opcode / 64)] & (1 << (opcode % 64)) != 0
    }
}
