package org.example.restock;

import com.alibaba.fastjson2.JSON;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import org.example.shop.InventoryService;

/** Answers over HTTP what restock does, and lets it ask the others something. */
final class Admin {
    private final Tally tally;
    private final InventoryService inventory;
    private final Shelves shelves;

    Admin(Tally tally, InventoryService inventory, Shelves shelves) {
        this.tally = tally;
        this.inventory = inventory;
        this.shelves = shelves;
    }

    void start(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/livez", exchange -> answer(exchange, () -> "ok"));
        server.createContext("/readyz", exchange -> answer(exchange, () -> "ok"));
        server.createContext("/stats", exchange -> answer(exchange, tally::stats));
        server.createContext("/stock/", exchange -> answer(exchange, () -> inventory.stock(last(exchange))));
        server.createContext("/article/", exchange -> answer(exchange, () -> shelf(exchange).article(last(exchange))));
        server.createContext("/inspect", exchange -> answer(exchange, () -> shelf(exchange).inspect()));
        server.start();
    }

    private interface Question {
        Object ask() throws Exception;
    }

    /** The catalogue that ?of=APPLICATION&over=PROTOCOL asks for. */
    private Shelf shelf(HttpExchange exchange) {
        Map<String, String> query = new HashMap<>();
        String text = exchange.getRequestURI().getQuery();
        for (String pair : text == null ? new String[0] : text.split("&")) {
            int at = pair.indexOf('=');
            query.put(pair.substring(0, at), pair.substring(at + 1));
        }
        return shelves.of(query.get("of"), query.get("over"));
    }

    private static String last(HttpExchange exchange) {
        String path = exchange.getRequestURI().getPath();
        return path.substring(path.lastIndexOf('/') + 1);
    }

    private static void answer(HttpExchange exchange, Question question) throws IOException {
        int status = 200;
        byte[] body;
        try {
            body = JSON.toJSONBytes(question.ask());
        } catch (Throwable e) { // whatever it is, it is to be told
            status = 502;
            body = JSON.toJSONBytes(Map.of("class", e.getClass().getName(), "error", String.valueOf(e.getMessage())));
        }
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(status, body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }
}
