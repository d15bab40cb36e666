package org.example.restock;

import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** Counts calls and keeps the last that failed. */
final class Tally {
    private static final int KEPT = 50;

    private final String instance;
    private final Instant started = Instant.now();
    private long ok;
    private long failed;
    private final Map<String, Long> servedBy = new TreeMap<>();
    private final Deque<Map<String, Object>> failures = new ArrayDeque<>();

    Tally(String instance) {
        this.instance = instance;
    }

    synchronized void ok(String server) {
        ok++;
        servedBy.merge(server, 1L, Long::sum);
    }

    synchronized void failed(Instant began, Throwable why) {
        failed++;
        if (failures.size() == KEPT) {
            failures.removeFirst();
        }
        Map<String, Object> f = new LinkedHashMap<>();
        f.put("started", began.toString());
        f.put("ended", Instant.now().toString());
        f.put("error", why.toString());
        failures.addLast(f);
    }

    /** The counts, in the shape that the shop's other programs tell theirs. */
    synchronized Map<String, Object> stats() {
        Map<String, Object> made = new LinkedHashMap<>();
        made.put("ok", ok);
        made.put("failed", failed);
        made.put("failures", new ArrayList<>(failures));
        Map<String, Object> stats = new LinkedHashMap<>();
        stats.put("instance", instance);
        stats.put("started", started.toString());
        stats.put("made", made);
        stats.put("servedBy", new TreeMap<>(servedBy));
        return stats;
    }
}
