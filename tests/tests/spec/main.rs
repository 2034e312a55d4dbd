//! The spec suite: a module a section, a scenario a function, a test a ring. The harness explains how to write one.

mod a_accept_close;
mod b_read_write_close;
mod b_sends;
mod b_short_receives;
mod b_streams;
mod b_two_descriptors;
mod c_hostile;
mod c_ownership;
mod d_fairness_timers;
mod e_readiness;
mod f_threads;
mod g_chains;
mod g_serial_groups;
mod h_buffers;
mod h_chunks;
mod h_incremental;
mod h_zero_copy;
mod i_choice;
mod i_refusals;
mod net_connect;
mod net_udp;
mod net_unix;
mod processes;
mod signals;
