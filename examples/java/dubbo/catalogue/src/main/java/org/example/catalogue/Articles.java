package org.example.catalogue;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.example.shop.Article;
import org.example.shop.CatalogueService;
import org.example.shop.Category;
import org.example.shop.InventoryService;
import org.example.shop.OutOfPrintException;
import org.example.shop.UnknownSkuException;

/** The catalogue itself, held in memory. */
final class Articles implements CatalogueService {
    /** Attachment of an answer: the instance that gave it. */
    static final String SERVED_BY = "served-by";

    private final String instance;
    private final Supplier<InventoryService> inventory;
    private final Map<String, Article> shelf;
    private final BigDecimal factor;

    Articles(String instance, Supplier<InventoryService> inventory) {
        this(instance, inventory, new ConcurrentHashMap<>(), BigDecimal.ONE);
        add("book", "A Book of Dubbo", Category.BOOKS, "42.50");
        add("lamp", "Reading lamp", Category.LIGHTING, "19.99");
        add("mug", "Mug", Category.KITCHEN, "7.25");
        add("pen", "Pen", Category.STATIONERY, "1.10");
    }

    private Articles(
            String instance, Supplier<InventoryService> inventory, Map<String, Article> shelf, BigDecimal factor) {
        this.instance = instance;
        this.inventory = inventory;
        this.shelf = shelf;
        this.factor = factor;
    }

    /** The same articles at half the price. */
    CatalogueService outlet() {
        return new Articles(instance, inventory, shelf, new BigDecimal("0.5"));
    }

    private void add(String sku, String name, Category category, String price) {
        Article a = new Article();
        a.setSku(sku);
        a.setName(name);
        a.setCategory(category);
        a.setPrice(new BigDecimal(price));
        a.setListed(new Date(1_767_225_600_000L)); // 2026-01-01T00:00:00Z
        a.setReleased(LocalDate.of(2025, 11, 20));
        a.setUpdated(LocalDateTime.of(2026, 1, 1, 12, 30, 15));
        a.setTags(new ArrayList<>(List.of("new", category.name().toLowerCase())));
        a.setSizes(new TreeSet<>(List.of(1, 2, 3)));
        // Go does not keep count of the types of maps: HashMap is written without one.
        a.setPriceByCurrency(new HashMap<>(Map.of("EUR", a.getPrice(), "CNY", a.getPrice().multiply(new BigDecimal("7.80")))));
        a.setViews(9_007_199_254_740_993L); // more than a double can hold
        a.setWeight(0.25);
        a.setInPrint(true);
        a.setPicture(new byte[] {(byte) 0x89, 'P', 'N', 'G', 0, (byte) 0xff});
        shelf.put(sku, a);
    }

    private Article find(String sku) throws UnknownSkuException {
        Article found = shelf.get(sku);
        if (found == null) {
            throw new UnknownSkuException("no article " + sku + " in the catalogue");
        }
        return priced(found);
    }

    private Article priced(Article found) {
        Article a = copy(found);
        a.setPrice(a.getPrice().multiply(factor).setScale(2, RoundingMode.HALF_UP));
        a.setServedBy(instance);
        return a;
    }

    @Override
    public Article article(String sku) throws UnknownSkuException {
        Article a = find(sku);
        try {
            a.setStock(inventory.get().stock(sku));
        } catch (RpcException e) {
            // An article can be shown without its stock.
        }
        return a;
    }

    @Override
    public Map<String, Article> search(Category category, BigDecimal atMost) {
        Map<String, Article> found = new LinkedHashMap<>();
        for (Article a : articles(null)) {
            if (a.getCategory() == category && a.getPrice().compareTo(atMost) <= 0) {
                found.put(a.getSku(), a);
            }
        }
        return found;
    }

    @Override
    public List<Article> articles(Set<String> skus) {
        List<Article> found = new ArrayList<>();
        for (Article a : new TreeMap<>(shelf).values()) {
            if (skus == null || skus.contains(a.getSku())) {
                found.add(priced(a));
            }
        }
        return found;
    }

    @Override
    public Article note(Article article) {
        RpcContext.getServerResponseContext().setAttachment(SERVED_BY, instance);
        return article;
    }

    @Override
    public void withdraw(String sku) {
        throw new OutOfPrintException(sku);
    }

    @Override
    public Map<String, String> baggage(List<String> keys) {
        Map<String, String> came = new TreeMap<>();
        for (String key : keys) {
            String value = RpcContext.getServerAttachment().getAttachment(key);
            if (value != null) {
                came.put(key, value);
            }
        }
        RpcContext.getServerResponseContext().setAttachment(SERVED_BY, instance);
        return came;
    }

    private static Article copy(Article from) {
        Article a = new Article();
        a.setSku(from.getSku());
        a.setName(from.getName());
        a.setCategory(from.getCategory());
        a.setPrice(from.getPrice());
        a.setListed(from.getListed());
        a.setReleased(from.getReleased());
        a.setUpdated(from.getUpdated());
        a.setTags(from.getTags());
        a.setSizes(from.getSizes());
        a.setPriceByCurrency(from.getPriceByCurrency());
        a.setSimilar(from.getSimilar());
        a.setViews(from.getViews());
        a.setWeight(from.getWeight());
        a.setInPrint(from.isInPrint());
        a.setRating(from.getRating());
        a.setPicture(from.getPicture());
        return a;
    }
}
