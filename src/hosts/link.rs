//! Sessions of Zenoh between coordinator and agents, and who may speak in them.
