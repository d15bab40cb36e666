package org.example.restock;

import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.dubbo.rpc.RpcContext;
import org.example.shop.Article;
import org.example.shop.CatalogueService;
import org.example.shop.Category;
import org.example.shop.OutOfPrintException;
import org.example.shop.Stock;
import org.example.shop.UnknownSkuException;

/** What restock asks of a catalogue, in whatever language that is written. */
final class Shelf {
    private final CatalogueService catalogue;
    private final CatalogueService outlet;

    Shelf(CatalogueService catalogue, CatalogueService outlet) {
        this.catalogue = catalogue;
        this.outlet = outlet;
    }

    Article article(String sku) throws UnknownSkuException {
        return catalogue.article(sku);
    }

    /** Tries all that a catalogue can do, and tells of each thing what was wrong with it. */
    Map<String, String> inspect() {
        Map<String, String> report = new LinkedHashMap<>();
        check(report, "note", this::note);
        check(report, "search", this::search);
        check(report, "articles", this::articles);
        check(report, "unknown", this::unknown);
        check(report, "withdraw", this::withdraw);
        check(report, "baggage", this::baggage);
        check(report, "outlet", this::outlet);
        return report;
    }

    private interface Check {
        String run() throws Exception;
    }

    private static void check(Map<String, String> report, String name, Check check) {
        String said;
        try {
            said = check.run();
        } catch (Throwable e) { // whatever it is, it is to be told
            said = e.toString();
        }
        report.put(name, said == null ? "ok" : said);
    }

    private String note() {
        Article sent = sample();
        Article got = catalogue.note(sent);
        List<String> differ = new ArrayList<>();
        differs(differ, "sku", sent.getSku(), got.getSku());
        differs(differ, "name", sent.getName(), got.getName());
        differs(differ, "category", sent.getCategory(), got.getCategory());
        differs(differ, "price", sent.getPrice(), got.getPrice());
        differs(differ, "listed", sent.getListed(), got.getListed());
        differs(differ, "released", sent.getReleased(), got.getReleased());
        differs(differ, "updated", sent.getUpdated(), got.getUpdated());
        differs(differ, "tags", sent.getTags(), got.getTags());
        differs(differ, "sizes", sent.getSizes(), got.getSizes());
        differs(differ, "priceByCurrency", sent.getPriceByCurrency(), got.getPriceByCurrency());
        differs(differ, "similar", sent.getSimilar().size(), got.getSimilar().size());
        differs(differ, "similar.price", sent.getSimilar().get(0).getPrice(), got.getSimilar().get(0).getPrice());
        differs(differ, "views", sent.getViews(), got.getViews());
        differs(differ, "weight", sent.getWeight(), got.getWeight());
        differs(differ, "inPrint", sent.isInPrint(), got.isInPrint());
        differs(differ, "rating", sent.getRating(), got.getRating());
        differs(differ, "picture", List.of(sent.getPicture().length), List.of(got.getPicture().length));
        differs(differ, "stock", sent.getStock().getAvailable(), got.getStock().getAvailable());
        return differ.isEmpty() ? null : String.join("; ", differ);
    }

    private static void differs(List<String> differ, String field, Object sent, Object got) {
        if (!Objects.equals(sent, got)) {
            differ.add(field + ": sent " + sent + ", got " + got);
        }
    }

    private String search() {
        Map<String, Article> found = catalogue.search(Category.BOOKS, new BigDecimal("42.50"));
        return found.keySet().equals(java.util.Set.of("book")) ? null : "found " + found.keySet();
    }

    private String articles() {
        List<String> found = catalogue.articles(new HashSet<>(List.of("mug", "pen"))).stream()
                .map(Article::getSku)
                .toList();
        return found.equals(List.of("mug", "pen")) ? null : "found " + found;
    }

    private String unknown() {
        try {
            catalogue.article("nothing");
            return "an article that is not there was found";
        } catch (UnknownSkuException e) {
            return e.getMessage().equals("no article nothing in the catalogue") ? null : e.getMessage();
        }
    }

    private String withdraw() {
        try {
            catalogue.withdraw("book");
            return "the book was withdrawn";
        } catch (OutOfPrintException e) {
            return "book".equals(e.getSku()) ? null : "of " + e.getSku();
        }
    }

    private String baggage() {
        RpcContext.getClientAttachment().setAttachment("tenant", "blue");
        Map<String, String> came = catalogue.baggage(new ArrayList<>(List.of("tenant")));
        String server = (String) RpcContext.getClientResponseContext().getObjectAttachment("served-by");
        if (!"blue".equals(came.get("tenant"))) {
            return "came " + came;
        }
        return server == null ? "the answer had no attachment served-by" : null;
    }

    private String outlet() throws UnknownSkuException {
        BigDecimal full = catalogue.article("book").getPrice();
        BigDecimal half = outlet.article("book").getPrice();
        return half.compareTo(full.multiply(new BigDecimal("0.5"))) == 0 ? null : half + " in the outlet, " + full + " elsewhere";
    }

    private static Article sample() {
        Article other = new Article();
        other.setSku("ink");
        other.setPrice(new BigDecimal("0.333333333333333333333"));
        other.setTags(new ArrayList<>());
        Stock stock = new Stock();
        stock.setSku("quill");
        stock.setAvailable(7);
        Article a = new Article();
        a.setSku("quill");
        a.setName("Gänsekiel 羽毛笔 🪶");
        a.setCategory(Category.STATIONERY);
        a.setPrice(new BigDecimal("12345678901234567890.0123456789"));
        a.setListed(new Date(1_767_225_600_123L));
        a.setReleased(LocalDate.of(2024, 2, 29));
        a.setUpdated(LocalDateTime.of(2026, 3, 29, 2, 30, 15, 123_000_000));
        a.setTags(new ArrayList<>(List.of("old", "", "grün")));
        a.setSizes(new TreeSet<>(List.of(-1, 0, 70_000)));
        a.setPriceByCurrency(new TreeMap<>(Map.of("EUR", new BigDecimal("9.90"), "JPY", new BigDecimal("1600"))));
        a.setSimilar(new ArrayList<>(List.of(other)));
        a.setViews(Long.MIN_VALUE + 1);
        a.setWeight(0.1);
        a.setInPrint(true);
        a.setRating(null);
        a.setPicture(new byte[] {0, -1, 127});
        a.setStock(stock);
        return a;
    }
}
