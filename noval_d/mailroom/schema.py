"""The tables of the state file."""

from __future__ import annotations

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, message BLOB NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', node TEXT NOT NULL DEFAULT '',
    final INTEGER NOT NULL DEFAULT 0, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_open ON outbox (seq) WHERE final = 0;
CREATE INDEX IF NOT EXISTS outbox_old ON outbox (updated_ms) WHERE final = 1;
CREATE TABLE IF NOT EXISTS hops (
    message TEXT NOT NULL, at_ms INTEGER NOT NULL, node TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, final INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS hops_message ON hops (message);
CREATE TABLE IF NOT EXISTS ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, message BLOB NOT NULL, phase TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, pane TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', updated_ms INTEGER NOT NULL,
    dropped INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS ledger_open ON ledger (seq) WHERE phase != 'settled';
CREATE INDEX IF NOT EXISTS ledger_undelivered ON ledger (seq)
    WHERE phase = 'settled' AND dropped = 0 AND state IN ('unconfirmed', 'failed', 'expired', 'dead');
CREATE INDEX IF NOT EXISTS ledger_old ON ledger (updated_ms) WHERE phase = 'settled';
CREATE INDEX IF NOT EXISTS ledger_agent ON ledger (agent, seq);
CREATE TABLE IF NOT EXISTS questions (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, reply TEXT NOT NULL DEFAULT '',
    taken INTEGER NOT NULL DEFAULT 0, at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS questions_open ON questions (agent, id) WHERE reply = '';
CREATE TABLE IF NOT EXISTS talks (
    id TEXT PRIMARY KEY, conversation TEXT NOT NULL, sender TEXT NOT NULL, agent TEXT NOT NULL,
    at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS talks_conversation ON talks (agent, conversation);
CREATE INDEX IF NOT EXISTS talks_pair ON talks (agent, sender, at_ms);
CREATE TABLE IF NOT EXISTS agents (
    agent TEXT PRIMARY KEY, spec BLOB NOT NULL, paused INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS lives (agent TEXT PRIMARY KEY, life BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS asked (id TEXT PRIMARY KEY, agent TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS node (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS schedules (
    id TEXT PRIMARY KEY, asked BLOB NOT NULL, mark TEXT NOT NULL, updated_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, record BLOB NOT NULL, updated_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS tasks_old ON tasks (updated_ms);
CREATE TABLE IF NOT EXISTS bridged (
    id TEXT PRIMARY KEY, origin BLOB NOT NULL, told TEXT NOT NULL DEFAULT '', trying TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT '', again INTEGER NOT NULL DEFAULT 0, at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS bridged_old ON bridged (at_ms);
"""
