package org.example.restock;

import java.time.Instant;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.example.shop.Buyer;
import org.example.shop.InventoryService;
import org.example.shop.Reservation;

/** Reserves a piece of each article in turn, over each protocol in turn, at a steady rate. */
final class Rounds {
    private static final List<String> ARTICLES = List.of("book", "lamp", "mug", "pen");

    private final List<InventoryService> inventories;
    private final Tally tally;
    private final AtomicLong turn = new AtomicLong();
    private final ScheduledExecutorService workers = Executors.newScheduledThreadPool(4);

    Rounds(List<InventoryService> inventories, Tally tally) {
        this.inventories = inventories;
        this.tally = tally;
    }

    void start(int rate) {
        if (rate > 0) {
            long every = TimeUnit.SECONDS.toNanos(1) / rate;
            workers.scheduleAtFixedRate(() -> workers.execute(this::reserve), every, every, TimeUnit.NANOSECONDS);
        }
    }

    private void reserve() {
        long n = turn.getAndIncrement();
        InventoryService inventory = inventories.get((int) (n % inventories.size()));
        String sku = ARTICLES.get((int) (n / inventories.size() % ARTICLES.size()));
        Instant began = Instant.now();
        try {
            Reservation r = inventory.reserve(sku, 1, new Buyer("restock", "Restock"));
            tally.ok(r.getServedBy());
        } catch (Throwable e) { // whatever it is, it is to be told
            tally.failed(began, e);
        }
    }

    /** Makes no more calls and waits for those under way. */
    void stop() {
        workers.shutdown();
        try {
            workers.awaitTermination(3, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
