CREATE TABLE readings (id INTEGER PRIMARY KEY, at TEXT, flow_lpm REAL, pressure_bar REAL);
CREATE TABLE states (id INTEGER PRIMARY KEY, state TEXT);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO readings SELECT i + 1, datetime(1764500000 + i, 'unixepoch'),
  CASE i WHEN 40 THEN NULL ELSE 12.5 + i * 0.5 END, 1.25 + i / 4 * 0.125 FROM n;
INSERT INTO states SELECT id, CASE WHEN id % 4 = 0 THEN 'blocked' ELSE 'ok' END FROM readings;
