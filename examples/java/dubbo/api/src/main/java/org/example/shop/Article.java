package org.example.shop;

import java.io.Serializable;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** An article of the shop, with about every kind of field that services exchange. */
public class Article implements Serializable {
    private static final long serialVersionUID = 1L;

    private String sku;
    private String name;
    private Category category;
    private BigDecimal price;
    private Date listed;
    private LocalDate released;
    private LocalDateTime updated;
    private List<String> tags;
    private Set<Integer> sizes;
    private Map<String, BigDecimal> priceByCurrency;
    private List<Article> similar;
    private long views;
    private double weight;
    private boolean inPrint;
    private Integer rating;
    private byte[] picture;
    private Stock stock;
    private String servedBy;

    public String getSku() {
        return sku;
    }

    public void setSku(String sku) {
        this.sku = sku;
    }

    public String getName() {
        return name;
    }

    public void setName(String name) {
        this.name = name;
    }

    public Category getCategory() {
        return category;
    }

    public void setCategory(Category category) {
        this.category = category;
    }

    public BigDecimal getPrice() {
        return price;
    }

    public void setPrice(BigDecimal price) {
        this.price = price;
    }

    public Date getListed() {
        return listed;
    }

    public void setListed(Date listed) {
        this.listed = listed;
    }

    public LocalDate getReleased() {
        return released;
    }

    public void setReleased(LocalDate released) {
        this.released = released;
    }

    public LocalDateTime getUpdated() {
        return updated;
    }

    public void setUpdated(LocalDateTime updated) {
        this.updated = updated;
    }

    public List<String> getTags() {
        return tags;
    }

    public void setTags(List<String> tags) {
        this.tags = tags;
    }

    public Set<Integer> getSizes() {
        return sizes;
    }

    public void setSizes(Set<Integer> sizes) {
        this.sizes = sizes;
    }

    public Map<String, BigDecimal> getPriceByCurrency() {
        return priceByCurrency;
    }

    public void setPriceByCurrency(Map<String, BigDecimal> priceByCurrency) {
        this.priceByCurrency = priceByCurrency;
    }

    public List<Article> getSimilar() {
        return similar;
    }

    public void setSimilar(List<Article> similar) {
        this.similar = similar;
    }

    public long getViews() {
        return views;
    }

    public void setViews(long views) {
        this.views = views;
    }

    public double getWeight() {
        return weight;
    }

    public void setWeight(double weight) {
        this.weight = weight;
    }

    public boolean isInPrint() {
        return inPrint;
    }

    public void setInPrint(boolean inPrint) {
        this.inPrint = inPrint;
    }

    public Integer getRating() {
        return rating;
    }

    public void setRating(Integer rating) {
        this.rating = rating;
    }

    public byte[] getPicture() {
        return picture;
    }

    public void setPicture(byte[] picture) {
        this.picture = picture;
    }

    public Stock getStock() {
        return stock;
    }

    public void setStock(Stock stock) {
        this.stock = stock;
    }

    public String getServedBy() {
        return servedBy;
    }

    public void setServedBy(String servedBy) {
        this.servedBy = servedBy;
    }
}
