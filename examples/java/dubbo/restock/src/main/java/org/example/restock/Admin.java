package org.example.restock;

import com.alibaba.fastjson2.JSON;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.Executors;
import org.example.shop.InventoryService;

/** Answers over HTTP what restock does, and lets it ask the others something. */
final class Admin {
    private final Tally tally;
    private final InventoryService inventory;
    private final Shelf shelf;

    Admin(Tally tally, InventoryService inventory, Shelf shelf) {
        this.tally = tally;
        this.inventory = inventory;
        this.shelf = shelf;
    }

    void start(int port) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/livez", exchange -> answer(exchange, () -> "ok"));
        server.createContext("/readyz", exchange -> answer(exchange, () -> "ok"));
        server.createContext("/stats", exchange -> answer(exchange, tally::stats));
        server.createContext("/stock/", exchange -> answer(exchange, () -> inventory.stock(last(exchange))));
        server.createContext("/article/", exchange -> answer(exchange, () -> shelf.article(last(exchange))));
        server.createContext("/inspect", exchange -> answer(exchange, shelf::inspect));
        server.start();
    }

    private interface Question {
        Object ask() throws Exception;
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
